"""usage: golden.py WEIGHTS.json PRESET.json SCENE.asl OUT.json: what the detector must compute for the first 1,500 packets of a scene."""
import sys,os,json
sys.path[:0]=[os.path.dirname(os.path.abspath(__file__))]
import detector as net,scene,numpy as np
M=net.load(sys.argv[1]); P=json.load(open(sys.argv[2])); s=scene.load(sys.argv[3]); X,Z,sw=net.run(s,M,{**net.PRE,**P},keepx=True)
n=1500; rows=[]
for i in range(n):
    if np.isnan(X[i,0]): continue
    t,p,lv,v,ts=(int(x) for x in s.ev[i,:5]); rows.append(dict(arrival=t,participant=p,level=lv,voice=bool(v),media_ms=ts,inputs=[round(float(x),5) for x in X[i]],log_odds=[round(float(x),5) for x in Z[i]]))
end=s.ev[n-1,0]
with open(sys.argv[4],'w') as o:
    o.write('{"switches": %s,\n"rows": [\n'%json.dumps([[int(t),int(p)] for t,p in sw if t<=end])+',\n'.join(json.dumps(r,separators=(',',':')) for r in rows)+'\n]}\n')
