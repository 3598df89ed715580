"""The library through ctypes, for programs that make many small clips: a process for each would spend more on starting than on a picture. Needs numpy."""
import ctypes as c
import json
import os

import numpy as np


class ContextOptions(c.Structure):
    _fields_ = [("device", c.c_char_p), ("precision", c.c_char_p), ("threads", c.c_int)]


class Model:
    def __init__(self, library, folder, threads=0):
        """library: liblumiere.so."""
        self.lib = c.CDLL(os.path.abspath(library))
        for name in ("clip_data", "error_message", "model_hash", "request_error"):
            getattr(self.lib, "lumiere_" + name).restype = c.c_void_p
        self.lib.lumiere_model_default.restype = c.c_double
        self.context, self.model = c.c_void_p(), c.c_void_p()
        self.check(self.lib.lumiere_context_create(c.byref(ContextOptions(threads=threads)), c.byref(self.context)))
        self.check(self.lib.lumiere_model_open(self.context, folder.encode(), c.byref(self.model)))

    def check(self, status):
        if status:
            raise RuntimeError(c.string_at(self.lib.lumiere_error_message(self.context)).decode())

    def check_request(self, request, status):
        if status:
            raise RuntimeError(c.string_at(self.lib.lumiere_request_error(request)).decode())

    def default(self, key):
        return self.lib.lumiere_model_default(self.model, key.encode())

    def hash(self):
        return c.string_at(self.lib.lumiere_model_hash(self.model)).decode()

    def generate(self, prompt, seed, **settings):
        """-> uint8 (frames, height, width, 3), not enlarged. settings: of lumiere help generate, by the names that recipes have for them; None: the model's."""
        asked = {"prompt": prompt, "seed": seed, "no_upscale": True, **settings}
        request, clip = c.c_void_p(), c.c_void_p()
        try:
            self.check_request(request, self.lib.lumiere_request_create(b"generate", c.byref(request)))
            self.check_request(request, self.lib.lumiere_request_set_json(request, json.dumps(asked, default=int).encode()))
            self.check_request(request, self.lib.lumiere_request_run(request, self.model, c.byref(clip)))
        finally:
            self.lib.lumiere_request_free(c.byref(request))
        shape = (self.lib.lumiere_clip_frames(clip), self.lib.lumiere_clip_height(clip), self.lib.lumiere_clip_width(clip), 3)
        pixels = np.frombuffer(c.string_at(self.lib.lumiere_clip_data(clip), int(np.prod(shape))), np.uint8).reshape(shape)
        self.lib.lumiere_clip_free(c.byref(clip))
        return pixels
