"""Make independent_judge.npz: what onnxruntime answers for the ONNX file that the independent judge was converted from.

`embeddings` are of the file as it is, `rounded` of the file with its weights rounded to 16 bits, as mien ships them.

Run by hand, with numpy, onnx and onnxruntime; `training/convert_judge.py` fetches the file:

    python make_independent_judge.py fr_feature.onnx
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from make_sface import images


def answers(model: onnx.ModelProto) -> np.ndarray:
    """[3, 512]; the package's own script scales colors by (x - 127) / 128."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"input": (image[None] - 127) / 128})[0][0] for image in images()])


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            weight = onnx.numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    return model


def main(source: str) -> None:
    np.savez_compressed(Path(__file__).parent / "independent_judge.npz", embeddings=answers(onnx.load(source)),
                        rounded=answers(rounded(onnx.load(source))))


if __name__ == "__main__":
    main(sys.argv[1])
