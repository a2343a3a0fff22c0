"""The detector as the training sees it: the same equations as crates/sfu/src/stage, packet by packet, in one closed loop.

`loop` computes inputs (level.rs, leak.rs, talk.rs), the network (network.rs) and the decision (decision.rs), whose outcome is an input of the next
packets. `decide` is the decision alone, on log-odds computed before: fast enough to fit its parameters. ev: rows of arrival, participant, level, V bit,
media time, packet time, sequence number, in order of arrival; times in ms."""
import numpy as np, math, json
from numba import njit
NF=27
DN=['kz','bz','tfu','tfd','th','gup','gdn','amax','T0','T1','T3','T4','tw','thd','gap','fmin','adec','boost','res','zc','zd','T5','tsw']
PRE=dict(kz=1.04,bz=-.82,tfu=14,tfd=3.4,th=.38,gup=1.17,gdn=1.33,T1=.1,T3=.82,T4=.06,tw=65,thd=195,gap=150,adec=.48,boost=.11,res=.25,zc=.27,zd=.07,T0=.03,fmin=.7,amax=.36,T5=0.,tsw=400.)
def vec(P): return np.array([P[n] for n in DN],float)
@njit(cache=True)
def clip(x,a,b): return min(b,max(a,x))
@njit(cache=True)
def sig(x): return 1/(1+math.exp(-clip(x,-30.,30.)))
@njit(cache=True,error_model='numpy')
def loop(ev,N,join,leave,Wi,Wh,b,bh,wo,bo,use,v,keepx,kick,seed):
    kz=v[0];bz=v[1];tfu=v[2];tfd=v[3];th=v[4];gup=v[5];gdn=v[6];amax=v[7];T0=v[8];T1=v[9];T3=v[10];T4=v[11];tw=v[12];thd=v[13];gap=v[14];fmin=v[15];adec=v[16];boost=v[17];res=v[18];zc=v[19];zd=v[20];T5=v[21];tsw=v[22]; tlast=-1e9
    E=ev.shape[0]; F=Wi.shape[0]; H=Wh.shape[0]
    X=np.zeros((E if keepx else 1,F),np.float32); x=np.zeros(F,np.float32); Z=np.full((E,2),-9.0,np.float32)
    h=np.zeros((N,H),np.float32); a=np.zeros(3*H,np.float32); c=np.zeros(3*H,np.float32)
    # signal features
    lts=np.full(N,-1.0); sm=np.full(N,-200.0); blk=np.full((N,4),200.0); bt=np.zeros(N); nf=np.full(N,-55.0); s=np.full(N,-28.0); pl=np.full(N,-200.0); md=np.full(N,4.0); v0=np.zeros(N); v1=np.zeros(N); lt=np.full(N,-1e9)
    r1=-1; r1v=-200.0; r1t=0.0; r2=-1; r2v=-200.0; r2t=0.0
    # room features
    ps=np.zeros(N); pf=np.zeros(N); env=np.full(N,-90.0); on=np.full(N,-1.0); off=np.full(N,-20000.0); blen=np.full(N,6.0); du=np.zeros(N); ov=np.full(N,.3); sh=np.zeros(N)
    li=np.full((N,4),-1); lk=np.zeros((N,4)); ld=np.zeros((N,4))
    q1=-1;q2=-1;q3=-1
    # decision
    last=np.full(N,-1.0); f=np.zeros(N); A=np.zeros(N); la=np.full(N,-1e9); ob=np.zeros(N); live=np.zeros(N)
    np.random.seed(seed); nk=kick if kick>0 else 1e18; NP=0.0
    dom=-1; ot=np.empty(4096); od=np.empty(4096,np.int64); k=0
    for i in range(E):
        t=float(ev[i,0]); p=ev[i,1]; lv=ev[i,2]; vb=ev[i,3]; ts=float(ev[i,4]); d=float(ev[i,5])
        if dom>=0 and t>leave[dom]: dom=-1
        if t>nk: dom=int(np.random.random()*N); nk=t+kick*(.5+np.random.random())
        NP=0.0
        for q in range(N):
            if t>=join[q] and t<=leave[q]: NP+=1.0
        if ts<=lts[p]:
            if keepx: X[i,0]=np.nan
            continue
        g=ts-lts[p]-d if lts[p]>=0 else 0.0; lts[p]=ts
        L=max(-90.0,-float(lv))
        if lv<127:
            sm[p]=L if sm[p]<-150 else sm[p]+(L-sm[p])*.4
            if sm[p]<blk[p,0]: blk[p,0]=sm[p]
            if t-bt[p]>700:
                bt[p]=t; blk[p,3]=blk[p,2]; blk[p,2]=blk[p,1]; blk[p,1]=blk[p,0]; blk[p,0]=sm[p]
            m=min(min(blk[p,0],blk[p,1]),min(blk[p,2],blk[p,3])); nf[p]=max(-65.0,m+2)
        else: sm[p]=-200.0
        snr=L-nf[p]
        dl=0.0
        if pl[p]>-150 and g<=40: dl=L-pl[p]
        if dl!=0 and snr>4: md[p]+=(min(20.0,abs(dl))-md[p])*(1-math.exp(-d/200))
        pl[p]=L
        e1=r1v-max(0.0,t-r1t-250)*.04 if r1>=0 else -100.0
        e2=r2v-max(0.0,t-r2t-250)*.04 if r2>=0 else -100.0
        ref=-100.0; rs=-28.0; ri=-1
        if r1>=0 and r1!=p: ref=e1; rs=s[r1]; ri=r1
        elif r2>=0 and r2!=p: ref=e2; rs=s[r2]; ri=r2
        ref=max(ref,-90.0)
        if vb==1: v1[p]=1
        else: v0[p]=1
        x[0]=(L+50)/20; x[1]=clip((snr-15)/12,-2.,3.); x[2]=max(-3.0,(L-s[p]))/12; x[3]=clip(dl/10,-2.5,2.5); x[4]=clip((ref-L)/20,-3.,3.)
        x[5]=clip(((ref-rs)-(L-s[p]))/20,-3.,3.); x[6]=min(g,400.0)/200; x[7]=d/20-1; x[8]=(2*vb-1) if v0[p]>0 and v1[p]>0 else 0; x[9]=md[p]/5-1; x[10]=(nf[p]+60)/15
        x[11]=((pl[ri] if t-lt[ri]<100 else -90.0)+50)/20 if ri>=0 else -2.0
        lt[p]=t
        if r1==p:
            if L>=e1: r1v=L; r1t=t
        elif L>=e1 or r1<0:
            r2=r1; r2v=e1; r2t=max(r1t,t-250); r1=p; r1v=L; r1t=t
        elif r2==p:
            if L>=e2: r2v=L; r2t=t
        elif L>=e2 or r2<0:
            r2=p; r2v=L; r2t=t
        if snr>12 and L>-55: s[p]+=d/1000*(12.0 if L>s[p] else -3.0)
        # the room: who else seems to have the floor
        env[p]=max(L,env[p]-.1*(d+min(g,1000.)))
        o1=q1 if q1!=p else q2
        o2=q3 if (q1==p or q2==p) else q2
        w1=0.0; a1=0.0
        if o1>=0:
            w1=pf[o1]*math.exp(-max(0.0,t-lt[o1]-100)/100)
            if on[o1]>=0 and t-lt[o1]<300: a1=1+min(2000.0,t-on[o1])/1000
        w2=pf[o2]*math.exp(-max(0.0,t-lt[o2]-100)/100) if o2>=0 else 0.0
        x[12]=0.0 if dom<0 else (1.0 if dom==p else -1.0)
        x[13]=w1*2; x[14]=a1; x[15]=min(2000.0,t-la[dom])/1000 if dom>=0 else 2.5
        x[16]=0.0; x[17]=0.0
        if o1>=0:
            j=o1&3
            if li[p,j]!=o1: li[p,j]=o1; lk[p,j]=-30.0; ld[p,j]=8.0
            y=max(-60.,L-env[o1])
            x[16]=clip((y-lk[p,j])/10,-2.5,3.); x[17]=ld[p,j]/5-1
            if ps[o1]*math.exp(-max(0.0,t-lt[o1]-100)/100)>.5 and w1>pf[p]:
                lk[p,j]+=d*.01*clip((y-lk[p,j])/3,-1.,1.); ld[p,j]+=(min(15.,abs(y-lk[p,j]))-ld[p,j])*(1-math.exp(-d/2000))
        x[18]=du[p]*2; x[19]=ov[p]*2; x[20]=math.log(1+sh[p])/2; x[21]=blen[p]-6; x[22]=math.log(1+(0 if on[p]>=0 else min(20000.,t-off[p]))/200)/2
        x[23]=math.log(max(NP,1.0))-1.5; x[24]=w2*2; x[25]=math.log(1+min(60000.,t-join[p])/1000)/2-1; x[26]=(max(-60.0,env[p]-s[p]))/12
        if keepx:
            for j in range(F): X[i,j]=x[j]
        # network
        if use:
            for j in range(3*H): a[j]=b[j]; c[j]=bh[j]
            for q in range(F):
                y=x[q]
                for j in range(3*H): a[j]+=y*Wi[q,j]
            for q in range(H):
                y=h[p,q]
                for j in range(3*H): c[j]+=y*Wh[q,j]
            z1=bo[0]; z2=bo[1]
            for j in range(H):
                r=1/(1+math.exp(-(a[j]+c[j]))); z=1/(1+math.exp(-(a[H+j]+c[H+j]))); n=math.tanh(a[2*H+j]+r*c[2*H+j])
                h[p,j]=(1-z)*n+z*h[p,j]; z1+=h[p,j]*wo[j,0]; z2+=h[p,j]*wo[j,1]
        else:
            z1=clip((snr-14)/3,-4.,4.); z2=z1-max(0.0,(ref-L)/5) if w1>.5 else z1
        Z[i,0]=z1; Z[i,1]=z2
        P1=sig(z1); P2=sig(z2)
        ps[p]+=(P1-ps[p])*(1-math.exp(-d/30)); pf[p]+=(P2-pf[p])*(1-math.exp(-d/30))
        if p!=q1 and p!=q2 and p!=q3:
            if q1<0: q1=p
            elif q2<0: q2=p
            elif q3<0: q3=p
            elif pf[p]>pf[q3]*math.exp(-max(0.0,t-lt[q3]-100)/100): q3=p
        if q3>=0 and pf[q3]*math.exp(-max(0.0,t-lt[q3]-100)/100)>pf[q2]*math.exp(-max(0.0,t-lt[q2]-100)/100): y3=q2; q2=q3; q3=y3
        if q2>=0 and pf[q2]*math.exp(-max(0.0,t-lt[q2]-100)/100)>pf[q1]*math.exp(-max(0.0,t-lt[q1]-100)/100): y3=q1; q1=q2; q2=y3
        if ps[p]>.5:
            if on[p]<0: on[p]=t
            off[p]=t
        elif on[p]>=0 and t-off[p]>200:
            blen[p]+=.3*(math.log(clip(off[p]-on[p],60.,5000.))-blen[p]); on[p]=-1
        du[p]+=(ps[p]-du[p])*(1-math.exp(-(d+min(g,5000.))/5000))
        ov[p]+=ps[p]*(w1-ov[p])*(1-math.exp(-d/8000)); sh[p]+=pf[p]*d/1000; sh[p]*=1-(d/60000)
        # decision
        last[p]=t
        if g>gap: y=g-gap; f[p]*=math.exp(-y/tfd); A[p]=max(0.0,A[p]-adec*th*y/1000)
        w=zd if p==dom else zc
        pr=sig(kz*((1-w)*z1+w*z2)+bz)
        f[p]+=(pr-f[p])*(1-math.exp(-d/(tfu if pr>f[p] else tfd)))
        e=f[p]-th
        A[p]=min(amax,max(0.0,A[p]+d/1000*(gup*e if e>0 else gdn*e)))
        if f[p]>.5: la[p]=t
        if e>0:
            if live[p]==0: live[p]=1; ob[p]=1.0 if (dom>=0 and dom!=p and t-la[dom]<tw) else 0.0
        elif A[p]<=0: live[p]=0
        if p!=dom and f[p]>fmin:
            thr=T0
            if dom>=0:
                idle=max(0.0,t-last[dom]-gap)
                thr+=T3*f[dom]*math.exp(-idle/tfd)+T1*math.exp(-(t-la[dom])/thd)+T4*ob[p]+T5*math.exp(-(t-tlast)/tsw)
            if A[p]>thr and k<4096:
                if dom>=0: A[dom]*=res
                A[p]=max(A[p],min(boost,amax)); dom=p; tlast=t; ot[k]=t; od[k]=p; k+=1
    return X,Z,ot[:k],od[:k]
@njit(cache=True)
def decide(ev,N,leave,Z,v):
    kz=v[0];bz=v[1];tfu=v[2];tfd=v[3];th=v[4];gup=v[5];gdn=v[6];amax=v[7];T0=v[8];T1=v[9];T3=v[10];T4=v[11];tw=v[12];thd=v[13];gap=v[14];fmin=v[15];adec=v[16];boost=v[17];res=v[18];zc=v[19];zd=v[20];T5=v[21];tsw=v[22]; tlast=-1e9
    last=np.full(N,-1.0); lts=np.full(N,-1.0); f=np.zeros(N); A=np.zeros(N); la=np.full(N,-1e9); ob=np.zeros(N); live=np.zeros(N)
    dom=-1; ot=np.empty(4096); od=np.empty(4096,np.int64); k=0
    for i in range(ev.shape[0]):
        t=float(ev[i,0]); p=ev[i,1]; ts=float(ev[i,4]); d=float(ev[i,5])
        if dom>=0 and t>leave[dom]: dom=-1
        if ts<=lts[p]: continue
        g=ts-lts[p]-d if lts[p]>=0 else 0.0; lts[p]=ts
        # decision
        last[p]=t
        if g>gap: y=g-gap; f[p]*=math.exp(-y/tfd); A[p]=max(0.0,A[p]-adec*th*y/1000)
        w=zd if p==dom else zc
        pr=sig(kz*((1-w)*Z[i,0]+w*Z[i,1])+bz)
        f[p]+=(pr-f[p])*(1-math.exp(-d/(tfu if pr>f[p] else tfd)))
        e=f[p]-th
        A[p]=min(amax,max(0.0,A[p]+d/1000*(gup*e if e>0 else gdn*e)))
        if f[p]>.5: la[p]=t
        if e>0:
            if live[p]==0: live[p]=1; ob[p]=1.0 if (dom>=0 and dom!=p and t-la[dom]<tw) else 0.0
        elif A[p]<=0: live[p]=0
        if p!=dom and f[p]>fmin:
            thr=T0
            if dom>=0:
                idle=max(0.0,t-last[dom]-gap)
                thr+=T3*f[dom]*math.exp(-idle/tfd)+T1*math.exp(-(t-la[dom])/thd)+T4*ob[p]+T5*math.exp(-(t-tlast)/tsw)
            if A[p]>thr and k<4096:
                if dom>=0: A[dom]*=res
                A[p]=max(A[p],min(boost,amax)); dom=p; tlast=t; ot[k]=t; od[k]=p; k+=1
    return ot[:k],od[:k]
def run(sc,M,P=PRE,keepx=False,kick=0.0,seed=0):
    """M: dict of weights or None (bootstrap by loudness)."""
    use=M is not None
    if not use:
        H=2; M=dict(Wi=np.zeros((NF,3*H)),Wh=np.zeros((H,3*H)),b=np.zeros(3*H),bh=np.zeros(3*H),wo=np.zeros((H,2)),bo=np.zeros(2))
    m={k:np.ascontiguousarray(x,np.float32) for k,x in M.items()}
    X,Z,t,d=loop(sc.ev,sc.N,np.array(sc.join,float),np.array(sc.leave,float),m['Wi'],m['Wh'],m['b'],m['bh'],m['wo'],m['bo'],use,vec(P) if isinstance(P,dict) else P,keepx,kick,seed)
    return X,Z,list(zip(t.tolist(),d.tolist()))
def load(f): return {k:np.array(x,np.float32) for k,x in json.load(open(f)).items()}
