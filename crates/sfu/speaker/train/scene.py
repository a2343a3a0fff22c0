"""Loads the scenes of the speaker corpus (docs/speaker.md has the format)."""
import os, json, struct, numpy as np
class Scene: pass
def load(path, vmode=None):
    b=open(path,'rb').read(); assert b[:4]==b'ASL1'
    n=struct.unpack('<I',b[4:8])[0]; h=json.loads(b[8:8+n]); o=8+n
    s=Scene(); s.name=h['name']; s.T=h['T_ms']; s.N=len(h['participants']); s.parts=h['participants']
    cols=[]
    for p in s.parts:
        a=np.frombuffer(b,np.uint8,p['n']*2,o).reshape(-1,2); o+=p['n']*2
        i=np.where(a[:,1]!=255)[0]
        vm=vmode or p['vmode']; v=a[i,0]>>7
        if vm=='one': v=np.ones_like(v)
        elif vm=='zero': v=np.zeros_like(v)
        ts=i*p['ptime']                                   # media time of the first sample, ms
        cols.append(np.stack([ts+p['ptime']+a[i,1].astype(int),np.full(len(i),p['id']),a[i,0]&127,v,ts,np.full(len(i),p['ptime']),i],1))
    e=np.concatenate(cols).astype(np.int64); s.ev=e[np.lexsort((e[:,6],e[:,0]))]   # arrival,pid,level,v,ts,ptime,seq
    s.join=[p['join_ms'] for p in s.parts]; s.leave=[p['leave_ms'] for p in s.parts]
    return s
