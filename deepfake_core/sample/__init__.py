"""The embedded data set: FaceForensics++-shaped videos of people who do not exist.

::

    people         who appears: face, skin, hair, light, room, camera
    geometry       where a camera ray meets a head
    textures       the maps that wrap a head
    features       eyes and mouth, which move
    motion         how a person moves
    scene          what surrounds a head
    render         from a person and a moment to a noisy frame
    manipulations  Deepfakes, Face2Face, FaceSwap, NeuralTextures, in kind
    encoding       frames to H.264
    layout         names, folders and lists of FaceForensics++
    pair           every video of two people
    dataset        all of it, in parallel, resumable
"""

from deepfake_core.sample.dataset import generate_sample, sample_videos

__all__ = ["generate_sample", "sample_videos"]
