"""Short networks as people write them, with a row for every fact; sizes are small, so that a mutant costs little."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from netspec.compile import compile_spec
from netspec.network import Network
from netspec.spec.load import parse_spec

SPECS: Mapping[str, str] = {
    "images": """
name: images
input: 24x20x3
layers:
  - scaled:    Rescale | scale=0.5, offset=-0.25
  - conv1:     CNN | 6, 3 | ReLU | padding=same
  - norm1:     BatchNorm | - | leaky_relu(0.1)
  - pool1:     MaxPool | 3 | - | stride=2, padding=same
  - conv2:     CNN | 8, 3 | elu(1.0) | stride=2, padding=same
  - conv3:     CNN | 8, (3,2) | SELU | dilation=(1,2), padding=same
  - grouped:   CNN | 8, 3 | ReLU6 | groups=4, padding=same
  - depthwise: DepthwiseConv | 3 | SiLU | multiplier=2, padding=same
  - separable: SeparableConv | 10, 3 | hard_swish | padding=same
  - pool2:     AvgPool | 3 | - | stride=2, padding=same
  - flat:      Flatten
  - hidden:    FNN | 12 | GELU
  - square:    FNN | 12 | Tanh
  - dropped:   Dropout | 0.5
  - classes:   FNN | 5 | Softmax
""",
    "norms": """
name: norms
input: 9x7x3
layers:
  - conv:     CNN | 6, 3 | - | padding=same
  - layer:    LayerNorm
  - group:    GroupNorm | 3
  - instance: InstanceNorm
  - rms:      RMSNorm
  - local:    LRN | 3 | - | alpha=0.1
  - batch:    BatchNorm | - | ReLU
  - scale:    LayerScale
  - maps:     CNN | 4, 1 | softmax(axis=-1)
  - mean:     GlobalAvgPool
  - result:   FNN | 3
""",
    "pools": """
name: pools
input: 12x10x3
layers:
  - conv:     CNN | 4, 3 | - | padding=same
  - ceiled:   MaxPool | 3 | - | stride=2, ceil=true
  - counted:  AvgPool | 3 | - | stride=1, padding=1, count_include_pad=true
  - beyond:   AvgPool | 2 | - | stride=2, ceil=true
  - wide:     Upsample | 3
  - adaptive: AdaptiveAvgPool | (5,2)
  - largest:  AdaptiveMaxPool | (3,2)
  - flat:     Flatten
  - result:   FNN | 3
""",
    "heads": """
name: heads
input: 9x7x3
layers:
  - conv: CNN | 6, 3
  - mean: GlobalAvgPool | - | - | from=conv
  - top:  GlobalMaxPool | - | - | from=conv
  - both: Concat | - | - | from=[mean, top]
  - result: FNN | 3 | Sigmoid
""",
    "decoder": """
name: decoder
input: 5x4x6
layers:
  - bilinear:  Upsample | 2 | - | mode=bilinear
  - doubled:   ConvTranspose | 5, 3 | ReLU | stride=2, padding=same
  - mixed:     ConvTranspose | 5, 3 | - | padding=same
  - cropped:   Crop | ((1,0),(0,1))
  - reflected: Pad | ((1,2),(0,1)) | - | mode=reflect
  - edged:     Pad | ((2,1),(1,2)) | - | mode=edge
  - channels:  CNN | 12, 1
  - mixed_up:  ChannelShuffle | 3
  - shuffled:  PixelShuffle | 2
  - resized:   Resize | 29x25
  - nearest:   Resize | 17x11 | - | mode=nearest
  - sliced:    Slice | begin=2, end=9, axis=1
  - result:    CNN | 2, 3 | Sigmoid
""",
    "activations": """
name: activations
input: 16
layers:
  - celu:         FNN | 16 | celu(1.5)
  - softplus:     FNN | 64 | softplus
  - mish:         FNN | 16 | mish
  - softsign:     FNN | 16 | softsign
  - hard_sigmoid: FNN | 16 | hard_sigmoid
  - hard_tanh:    FNN | 16 | hard_tanh
  - log_sigmoid:  FNN | 16 | log_sigmoid
  - tanh_gelu:    FNN | 16 | gelu(tanh)
  - learnt:       FNN | 16
  - prelu:        PReLU
  - result:       FNN | 4 | log_softmax
""",
    "merges": """
name: merges
input: 6x5x4
layers:
  - a:      CNN | 4, 1
  - b:      CNN | 4, 1 | - | from=input
  - less:   Subtract | - | - | from=[a, b]
  - times:  Multiply | - | - | from=[less, b]
  - mean:   Average | - | - | from=[times, a]
  - most:   Maximum | - | - | from=[mean, b]
  - least:  Minimum | - | - | from=[most, a]
  - sum:    Add | - | - | from=[least, b]
  - beside: Concat | - | - | from=[sum, a]
  - flat:   Flatten
  - left:   FNN | 6
  - right:  FNN | 6 | - | from=flat
  - angle:  Dot | - | - | from=[left, right], normalize=true
""",
    "shapes": """
name: shapes
input: 6x6x4
layers:
  - placed:  PixelUnshuffle | 2
  - back:    PixelShuffle | 2
  - conv:    CNN | 4, 1
  - turned:  Permute | (2,1,3)
  - shaped:  Reshape | (4,9,4)
  - padded:  Pad | ((1,1),(1,1)) | - | value=0.5
  - part:    Split | 2, 1
  - planes:  Flatten | - | - | order=chw
  - result:  FNN | 3
""",
    "sequence": """
name: sequence
input: 20x5
layers:
  - causal: CNN | 6, 3 | ReLU | padding=causal, dilation=2
  - layer:  LayerNorm
  - halved: MaxPool | 2
  - conv:   CNN | 6, 4 | Tanh | padding=same
  - mean:   GlobalAvgPool
  - result: FNN | 3 | Softmax
""",
    "unpooled": """
name: unpooled
input: 8x6x3
layers:
  - conv:  CNN | 4, 3 | - | padding=same
  - pool:  MaxPool | 2
  - inner: CNN | 4, 1
  - outer: MaxUnpool | 2 | - | from=[inner, conv]
  - result: CNN | 2, 1
""",
    "trained": """
name: trained
input: 7x6x2
layers:
  - conv:   CNN | 3, 3
  - norm:   BatchNorm | - | ReLU
  - flat:   Flatten
  - result: FNN | 3 | Softmax
""",
}


@cache
def network(name: str) -> Network:
    """One of the networks."""
    return compile_spec(parse_spec(SPECS[name], f"{name}.yaml"))
