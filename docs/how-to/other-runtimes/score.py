"""python score.py detector.onnx image.jpg ...: needs onnxruntime, numpy and pillow only."""

import json
import math
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(path):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 as it was compared
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["fakescan"])


def judge(session, about, path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    (logit,) = session.run(["logit"], {"image": np.asarray(image)})[0]
    x = about["calibration"]["slope"] * float(logit) + about["calibration"]["intercept"]
    score, band = 1 / (1 + math.exp(-x)), about["band"]
    verdict = (
        "fake" if score >= band["t_fake"] else "real" if score < band["t_real"] else "uncertain"
    )
    return {"path": path, "logit": float(logit), "score": score, "verdict": verdict}


if __name__ == "__main__":
    detector = load(sys.argv[1])
    for name in sys.argv[2:]:
        print(json.dumps(judge(*detector, name)))
