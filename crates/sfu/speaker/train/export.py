"""usage: export.py WEIGHTS.json weights.f32le: the file that the detector is built with, little-endian floats in the order of network.rs."""
import sys,json,numpy as np
M=json.load(open(sys.argv[1]))
open(sys.argv[2],'wb').write(b''.join(np.array(M[k],'<f4').tobytes() for k in ['Wi','Wh','b','bh','wo','bo']))
