"""Trains the network of the speaker detector. usage: [INIT=weights.json] train.py OUT.json UNITS SEED EPOCHS,EPOCHS,… FOLDER…

Each round runs the detector with the network so far over the scenes, slightly changed (gain, V bit, loss, preset, and now and then a wrong holder of the
stage, to learn to recover), and trains on the inputs that came of it for so many epochs. The first round, without a network, takes loudness for speech."""
import sys,os,json,time
sys.path[:0]=[os.path.dirname(os.path.abspath(__file__))]
import numpy as np, jax, jax.numpy as jnp, optax, scene, score, detector as net
out=sys.argv[1]; H=int(sys.argv[2]); seed=int(sys.argv[3]); EP=[int(x) for x in sys.argv[4].split(',')]; dirs=sys.argv[5:]; Ln=500; B=96; KICKS=float(os.environ.get('KICKS','.5'))
rng=np.random.default_rng(seed); F=net.NF
SC=[]
for d in dirs:
    for f in sorted(os.listdir(d)):
        if f.endswith('.asl'):
            s=scene.load(d+'/'+f); l=json.load(open(d+'/'+f[:-4]+'.json')); SC.append((s,l,score.prep({'x':l})['x'][:3]))
print(len(SC),'scenes',flush=True)
class S: pass
def augment(s):
    r=S(); r.N=s.N; r.join=s.join; r.leave=s.leave; ev=s.ev.copy(); p=ev[:,1]
    g=np.round(rng.normal(0,3,s.N)).astype(int)*(rng.random(s.N)<.5); silent=ev[:,2]>=127
    ev[:,2]=np.where(silent,127,np.clip(ev[:,2]+g[p],0,126))
    vm=rng.random(s.N); ev[:,3]=np.where((vm<.15)[p],1,ev[:,3])
    loss=np.where(rng.random(s.N)<.2,rng.random(s.N)*.05,0)[p]; keep=rng.random(len(ev))>=loss
    r.ev=np.ascontiguousarray(ev[keep]); return r
def data(M):
    XS=[];YS=[];MS=[]
    for s,l,(prim,spk,ok) in SC+[x for x in SC if 'open' in x[1]['name']]:
        u=rng.random(); P={**net.PRE,'T0':.005+.15*u,'amax':.31+.2*u,'fmin':.6+.2*rng.random()}
        s=augment(s); X,Z,_=net.run(s,M,P,keepx=True,kick=8000. if rng.random()<KICKS else 0.,seed=int(rng.integers(1<<30))); pz=1/(1+np.exp(-Z[:,0]))
        for p in range(s.N):
            ix=np.where((s.ev[:,1]==p)&~np.isnan(X[:,0]))[0]
            if len(ix)<200: continue
            mid=s.ev[ix,4]+s.ev[ix,5]/2; y=np.zeros(len(ix),np.float32)
            for u,a,b,k in l['utterances']:
                if u==p: y[(mid>=a)&(mid<b)]=1
            q=np.minimum((mid//20).astype(int),len(prim)-1); y2=((prim[q]==p)&spk[q]).astype(np.float32); m2=~(ok[q,p]&(prim[q]!=p)|((prim[q]==p)&(ok[q].sum(1)>1)))
            for o in range(-int(rng.integers(0,Ln-50)),len(ix),Ln):
                o0=max(0,o); k=min(o+Ln,len(ix))-o0
                if k<100: continue
                j=ix[o0:o0+k]; yy=y[o0:o0+k]
                if yy.sum()==0 and rng.random()>(.15 if pz[j].max()<.3 else .8): continue
                x=np.zeros((Ln,F),np.float32); Y=np.zeros((Ln,2),np.float32); m=np.zeros((Ln,2),np.float32); x[:k]=X[j]; Y[:k,0]=yy; Y[:k,1]=y2[o0:o0+k]; w=25 if o0>0 else 3; m[w:k,0]=1; m[w:k,1]=m2[o0+w:o0+k]
                XS.append(x);YS.append(Y);MS.append(m)
    return np.stack(XS),np.stack(YS),np.stack(MS)
k=jax.random.split(jax.random.PRNGKey(seed),3)
P=dict(Wi=jax.random.normal(k[0],(F,3*H))*.2,Wh=jax.random.normal(k[1],(H,3*H))*.2,b=jnp.zeros(3*H).at[H:2*H].set(1.5),bh=jnp.zeros(3*H),wo=jax.random.normal(k[2],(H,2))*.3,bo=jnp.zeros(2))
def fwd(P,x):
    A=(x@P['Wi']+P['b']).transpose(1,0,2)
    def st(h,a):
        c=h@P['Wh']+P['bh']; r=jax.nn.sigmoid(a[:,:H]+c[:,:H]); z=jax.nn.sigmoid(a[:,H:2*H]+c[:,H:2*H]); n=jnp.tanh(a[:,2*H:]+r*c[:,2*H:]); h=(1-z)*n+z*h
        return h,h
    _,h=jax.lax.scan(st,jnp.zeros((x.shape[0],H)),A); return (h@P['wo']+P['bo']).transpose(1,0,2)
def loss(P,x,y,m):
    l=optax.sigmoid_binary_cross_entropy(fwd(P,x),y*.98+.01); return (l*m).sum()/m.sum()
M=None; t0=time.time(); LR=float(os.environ.get('LR','2e-3'))
if os.environ.get('INIT'): M=net.load(os.environ['INIT']); P={k:jnp.array(v) for k,v in M.items()}
for rd,ep in enumerate(EP):
    XS,YS,MS=data(M); nb=len(XS)//B; tot=nb*ep; print('round',rd,XS.shape,round(float(YS.mean()),4),round(time.time()-t0),flush=True)
    lr=optax.cosine_decay_schedule(5e-3 if rd==0 and M is None else LR,tot,alpha=.05); opt=optax.chain(optax.clip_by_global_norm(1.),optax.adam(lr)); st=opt.init(P)
    @jax.jit
    def step(P,st,x,y,m): l,g=jax.value_and_grad(loss)(P,x,y,m); u,st=opt.update(g,st,P); return optax.apply_updates(P,u),st,l
    for e in range(ep):
        pm=rng.permutation(len(XS)); ls=[]
        for i in range(nb):
            j=pm[i*B:i*B+B]; P,st,l=step(P,st,XS[j],YS[j],MS[j]); ls.append(float(l))
            if i in (5,25) and e==0: print('  batches',nb,'took',round(time.time()-t0),flush=True)
        print(rd,e,round(float(np.mean(ls)),4),round(time.time()-t0),flush=True)
        json.dump({k:np.asarray(v).tolist() for k,v in P.items()},open(out,'w'))
    M={k:np.asarray(v) for k,v in P.items()}
