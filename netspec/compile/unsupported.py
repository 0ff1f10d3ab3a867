"""Kinds of layers that users know from elsewhere and netspec does not have, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from netspec.errors import Problem, did_you_mean
from netspec.layers import ALIASES, NAMES, fold

SEQUENCE = "recurrent layers are not kinds of netspec yet; Conv reads sequences (length x channels) too"
BRANCHES = "a branch is a row with from=, and Add or Concat bring branches together again"
ATTENTION = "attention is not a kind of netspec yet"
TOKENS = "the input is numbers; looking tokens up is not a kind of netspec yet"
AUGMENT = "a network holds what it also does after training; augment the images before they reach it"
CONTAINER = "the rows stand directly below `layers:`"
PART = "Slice, or Split for one of several equal parts"
NORM = "BatchNorm, LayerNorm, GroupNorm, InstanceNorm, RMSNorm or LRN"

# By the folded name without a rank: what to write, or why there is nothing.
INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("lstm", "gru", "rnn", "simplernn", "lstmcell", "grucell", "bidirectional", "convlstm"), SEQUENCE),
    **dict.fromkeys(("merge", "residual", "shortcut", "skip"), BRANCHES),
    **dict.fromkeys(("multiheadattention", "attention", "selfattention", "additiveattention"), ATTENTION),
    **dict.fromkeys(("transformer", "transformerencoder", "transformerencoderlayer", "transformerdecoder"), ATTENTION),
    **dict.fromkeys(("embedding", "embeddingbag", "positionalencoding", "textvectorization"), TOKENS),
    **dict.fromkeys(("randomflip", "randomcrop", "randomrotation", "randomzoom", "randomtranslation"), AUGMENT),
    **dict.fromkeys(("randombrightness", "randomcontrast", "augment", "augmentation"), AUGMENT),
    **dict.fromkeys(("sequential", "model", "module", "modulelist", "functional", "block"), CONTAINER),
    **dict.fromkeys(("chunk", "narrow", "select", "stridedslice"), PART),
    **dict.fromkeys(("unitnormalization", "spectralnormalization", "spectralnorm", "weightnorm"), NORM),
    **dict.fromkeys(("input", "inputlayer", "inputs"), "the shape of the input stands above: `input: 32x32x3`"),
    **dict.fromkeys(("output", "outputlayer", "outputs"), "the last row is the output, such as FNN | 10 | Softmax"),
    **dict.fromkeys(("none", "noop"), "leave the row out"),
    **dict.fromkeys(("gaussiannoise", "gaussiandropout", "alphadropout", "featurealphadropout"), "Dropout"),
    **dict.fromkeys(("globalmeanpool", "globalmeanpooling"), "GlobalAvgPool"),
    **dict.fromkeys(("meanpool", "meanpooling"), "AvgPool"),
    **dict.fromkeys(("adaptivemeanpool", "adaptivemeanpooling"), "AdaptiveAvgPool"),
    **dict.fromkeys(("pool", "pooling", "subsampling", "downsample", "lppool"), "MaxPool or AvgPool"),
    "spacetodepth": "PixelUnshuffle, with the channels of one input side by side as in torch, not as in TensorFlow",
    "depthtospace": "PixelShuffle, where the channels of one result lie side by side as in torch, not as in TensorFlow",
    "circularpad": "Pad | ... | - | mode=constant, reflect, edge or symmetric",
    "scale": "LayerScale, or Rescale for one number that is not learnt",
    "fractionalmaxpool": "AdaptiveMaxPool",
    "timedistributed": "Dense | ... | - | every_position=true; convolutions and pools keep positions by themselves",
    "unflatten": "Reshape",
    "centercrop": "Crop",
    "upsamplingnearest": "Upsample",
    "upsamplingbilinear": "Upsample | 2, mode=bilinear",
    "repeatvector": "Reshape, then Upsample",
    "maxout": "an activation such as ReLU",
    "lambda": "layers are data and hold no code; Rescale and Activation do simple arithmetic",
}


def unknown_kind(name: str, blocks: Collection[str] = ()) -> Problem:
    """That this is neither a kind of layer nor one of the blocks, with what may have been meant."""
    assert fold(name) not in ALIASES
    instead = INSTEAD.get(re.sub(r"[123]d$", "", fold(name)))
    if instead is not None:
        return Problem(f"{name} is not supported", instead if " " in instead else f"use {instead}")
    what = "layer kind or block" if blocks else "layer kind"
    hint = _in_cells(name, blocks) or did_you_mean(name, (*NAMES.values(), *blocks))
    return Problem(f"unknown {what} {name!r}", hint)


def _in_cells(name: str, blocks: Collection[str]) -> str | None:
    """A hint for a row that was written without `|` between its cells: `Conv 8 3 relu`."""
    kind, *rest = name.replace(",", " ").split()
    if not rest or (fold(kind) not in ALIASES and kind not in blocks):
        return None
    options = [word for word in rest if "=" in word]
    sizes = [word for word in rest if re.fullmatch(r"[\dx().]+", word)]
    words = [word for word in rest if word not in options and word not in sizes]
    cells = [kind, ", ".join(sizes) or "-", " ".join(words) or "-", ", ".join(options)]
    while cells[-1] in ("", "-"):
        cells.pop()
    return f"the cells of a row are split by `|`: {' | '.join(cells)}"
