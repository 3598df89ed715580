"""The library through ctypes, for programs that make many small clips: a process for each would spend more on starting than on a picture. Needs numpy."""
import ctypes as c
import os

import numpy as np


class GenerateOptions(c.Structure):
    """lumiere_generate_options of include/lumiere/lumiere.h."""
    _fields_ = [("prompt", c.c_char_p), ("negative_prompt", c.c_char_p), ("seed", c.c_uint64), ("clip", c.c_uint32), ("frames", c.c_int), ("width", c.c_int),
                ("height", c.c_int), ("fps", c.c_double), ("steps", c.c_int), ("cfg_scale", c.c_double), ("cfg_scale_set", c.c_bool), ("sampler", c.c_int),
                ("sampler_set", c.c_bool), ("dynamic_threshold", c.c_double), ("preview_every", c.c_int), ("progress", c.c_void_p), ("user", c.c_void_p),
                ("overlap", c.c_int), ("overlap_set", c.c_bool), ("enlarge", c.c_int), ("loop", c.c_bool), ("refine", c.c_double), ("refine_set", c.c_bool),
                ("base", c.c_void_p)]


class ContextOptions(c.Structure):
    _fields_ = [("device", c.c_char_p), ("precision", c.c_char_p), ("threads", c.c_int)]


ENLARGE_NOT = 2


class Model:
    def __init__(self, library, folder, threads=0):
        """library: liblumiere.so."""
        self.lib = c.CDLL(os.path.abspath(library))
        self.lib.lumiere_clip_data.restype = self.lib.lumiere_error_message.restype = self.lib.lumiere_model_hash.restype = c.c_void_p
        self.lib.lumiere_model_default.restype = c.c_double
        self.context, self.model = c.c_void_p(), c.c_void_p()
        self.check(self.lib.lumiere_context_create(c.byref(ContextOptions(threads=threads)), c.byref(self.context)))
        self.check(self.lib.lumiere_model_open(self.context, folder.encode(), c.byref(self.model)))

    def check(self, status):
        if status:
            raise RuntimeError(c.string_at(self.lib.lumiere_error_message(self.context)).decode())

    def default(self, key):
        return self.lib.lumiere_model_default(self.model, key.encode())

    def hash(self):
        return c.string_at(self.lib.lumiere_model_hash(self.model)).decode()

    def generate(self, prompt, seed, **options):
        """-> uint8 (frames, height, width, 3), not enlarged. options: further members of GenerateOptions."""
        clip = c.c_void_p()
        o = GenerateOptions(prompt=prompt.encode(), seed=seed, enlarge=ENLARGE_NOT, **options)
        self.check(self.lib.lumiere_generate(self.context, self.model, c.byref(o), c.byref(clip)))
        shape = (self.lib.lumiere_clip_frames(clip), self.lib.lumiere_clip_height(clip), self.lib.lumiere_clip_width(clip), 3)
        pixels = np.frombuffer(c.string_at(self.lib.lumiere_clip_data(clip), int(np.prod(shape))), np.uint8).reshape(shape)
        self.lib.lumiere_clip_free(c.byref(clip))
        return pixels
