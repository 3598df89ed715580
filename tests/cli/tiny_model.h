// A model folder small enough to run in milliseconds: random weights, every kind of layer.
#pragma once

// Makes folder (which must not exist) and everything in it; fails the test when that is not possible.
void tiny_model_make(const char *folder);
// The same with a network that is told each frame's moment.
void tiny_model_make_told(const char *folder);
// Adds a super-resolution network to it.
void tiny_model_add_ssr(const char *folder);
// Writes a style file that fits it, called "wild": every image layer changed by noise, of low rank where that is less.
void tiny_model_write_style(const char *folder, const char *path);
// Names a style file of the model's folder in its model.json.
void tiny_model_name_style(const char *folder, const char *name, const char *file);
// A folder under /tmp for a test program's files, removed by temporary_remove.
char *temporary_make(void);
void temporary_remove(char *folder);
