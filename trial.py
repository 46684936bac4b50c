import numpy as np, torch, sys
from pathlib import Path
from PIL import Image
from imagepipe.config.recipe import SmallCNN
from imagepipe.models.create import create_model
from imagepipe.models.model_files import ModelDescription, save_model
out=Path("/tmp/gtrial"); out.mkdir(exist_ok=True)
for seed in (0,1):
    torch.manual_seed(seed)
    m=create_model(SmallCNN(width=8),3)
    save_model(out/f"m{seed}.safetensors",m,ModelDescription(model=SmallCNN(width=8),classes=["a","b","c"],several_labels=False,stored_size=[32,40],fit="crop",image_size=[32,40],mean=[.5]*3,std=[.2]*3,test_time_augmentation="flip"))
rng=np.random.default_rng(0)
(out/"imgs").mkdir(exist_ok=True)
for i in range(30):
    Image.fromarray(rng.integers(0,255,(50,60,3),dtype=np.uint8)).save(out/f"imgs/{i}.png")
(out/"imgs/bad.png").write_bytes(b"no")
