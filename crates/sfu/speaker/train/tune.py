"""Fits the decision's parameters. usage: [PEN=0.5] tune.py WEIGHTS.json START.json|- OUT.json SECONDS SEED FOLDER…

A (1+1) evolution strategy on the score, less PEN times what exceeds the aims for false switches, flaps and backchannels. Log-odds are computed in the
closed loop, and again after each third of the time. preset.rs names the parameters."""
import sys,os,json,time
sys.path[:0]=[os.path.dirname(os.path.abspath(__file__))]
import numpy as np,scene,score,detector as net
M=net.load(sys.argv[1]); base={**net.PRE,**(json.load(open(sys.argv[2])) if sys.argv[2]!='-' else {})}; out=sys.argv[3]; sec=float(sys.argv[4]); rng=np.random.default_rng(int(sys.argv[5])); dirs=sys.argv[6:]
BND=dict(kz=(.4,2.5),bz=(-2,2),tfu=(2,120),tfd=(2,200),th=(.2,.75),gup=(.5,2.),gdn=(.2,3),amax=(.15,2.),T0=(.003,.25),T1=(0,1.),T3=(0,2.),T4=(0,1.),tw=(0,1000),thd=(50,1500),gap=(45,200),fmin=(.3,.95),adec=(.3,3),boost=(0,1.5),res=(0,1),zc=(-.2,1.2),zd=(-.2,1.2),T5=(0,.6),tsw=(100,1500))
SC=[];pl={}
for d in dirs:
    L=score.load_labels(d)
    for k,v in score.prep(L).items():
        s=scene.load(f'{d}/{k}.asl'); s.name=d+k; SC.append(s); pl[d+k]=v
def refresh(P):
    for s in SC: s.Z=net.run(s,M,P)[1].astype(float); s.lv=np.array(s.leave,float)
def ol(P):
    v=net.vec(P); o={}
    for s in SC: t,d=net.decide(s.ev,s.N,s.lv,s.Z,v); o[s.name]=list(zip(t.tolist(),d.tolist()))
    return o
def obj(P):
    R=score.score(pl,ol(P)); m=score.summarize(list(R.values()))
    # the aims, as soft limits on top of the score
    pen=4*max(0,m['fs']-.7)+4*max(0,m['flap']-.4)+.5*max(0,m['bc']-2)+.01*max(0,m['med']-200)
    return m['score']-pen*float(W),m
W=os.environ.get('PEN','.5')
names=net.DN; lo=np.array([BND[n][0] for n in names]); hi=np.array([BND[n][1] for n in names])
t0=time.time(); refresh(base); best,m=obj(base); print(len(SC),'start',round(best,2),score.row('',m),round(time.time()-t0),flush=True)
x=np.clip((np.array([base[n] for n in names])-lo)/(hi-lo),0,1); sig=np.full(len(names),.1); n=0; nr=t0+sec/3
while time.time()-t0<sec:
    k=rng.integers(1,5); ix=rng.choice(len(names),k,replace=False); y=x.copy(); y[ix]=np.clip(y[ix]+rng.normal(0,1,k)*sig[ix]*rng.choice([.3,1,2]),0,1)
    P=dict(zip(names,(lo+y*(hi-lo)).tolist())); s,mm=obj(P); n+=1
    if s>best: best=s;x=y;m=mm; sig[ix]=np.minimum(.4,sig[ix]*1.3); json.dump(P,open(out,'w'))
    else: sig[ix]=np.maximum(.02,sig[ix]*.97)
    if n%50==0: print(n,round(best,2),score.row('',m),round(time.time()-t0),flush=True)
    if time.time()>nr:
        nr=time.time()+sec/3; P=dict(zip(names,(lo+x*(hi-lo)).tolist())); refresh(P); best,m=obj(P); print('refreshed',round(best,2),score.row('',m),flush=True)
P=dict(zip(names,(lo+x*(hi-lo)).tolist())); refresh(P); best,m=obj(P); print('final',round(best,2),score.row('',m))
