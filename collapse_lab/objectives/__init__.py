"""What networks learn: each objective is a module around an encoder."""

from collapse_lab.objectives.fcmae import FCMAE as FCMAE
from collapse_lab.objectives.mae import MAE as MAE
from collapse_lab.objectives.pretext import Colorization as Colorization
from collapse_lab.objectives.pretext import Rotation as Rotation
from collapse_lab.objectives.reconstruction import reconstruct as reconstruct
from collapse_lab.objectives.siamese import SimSiam as SimSiam
from collapse_lab.objectives.siamese import VICReg as VICReg
from collapse_lab.objectives.supervised import Supervised as Supervised
