// A graph of ops, built once per shape. Builders append a node and return its output; the graph holds the first error,
// so model code needs no checks, and lm_plan_create reports it. Values, memory and devices come in with plan.h.
#pragma once
#include "op/op.h"

typedef struct lm_graph lm_graph;
typedef struct lm_tensor {
    int32_t id;
} lm_tensor; // LM_NONE where an optional one is absent
#define LM_NONE ((lm_tensor){-1})

// Weights at birth; fan-in kinds are PyTorch's defaults: uniform in +-1/sqrt(fan_in).
typedef enum lm_init_kind { LM_INIT_ZERO, LM_INIT_ONE, LM_INIT_FAN_IN, LM_INIT_NORMAL, LM_INIT_DIRAC } lm_init_kind;
typedef struct lm_init {
    lm_init_kind kind;
    float value; // FAN_IN: fan_in; NORMAL: standard deviation
} lm_init;

typedef struct lm_param_info {
    const char *name; // full, as in the weight file
    lm_desc desc;     // as stored (F32)
    lm_init init;
    bool trainable;      // a gradient is computed
    int64_t offset;      // elements before it in the flat block of all parameters
    int64_t grad_offset; // elements before it in the flat block of gradients; -1 when not trainable
    int group, parts;    // lm_param_group's; 0 and 1 unless it was called
    lm_tensor tensor;
} lm_param_info;

// compute: LM_F32, LM_BF16 (activations stored in bf16, sums in fp32) or LM_F64 (gradient tests).
lm_graph *lm_graph_create(lm_dtype compute); // NULL when memory is short
void lm_graph_free(lm_graph **g);
lm_status lm_graph_status(const lm_graph *g, lm_error *e); // the first error of any builder
lm_dtype lm_graph_compute(const lm_graph *g);
lm_desc lm_tensor_desc(const lm_graph *g, lm_tensor t);
void lm_graph_fail(lm_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Names: a parameter "weight" made inside the scopes "down", "0" is called "down.0.weight"; nodes carry the scope too.
void lm_scope_push(lm_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lm_scope_pop(lm_graph *g);
// Remembers the source line for the nodes that follow; the builder macros below call it.
lm_graph *lm_graph_here(lm_graph *g, const char *file, int line);

lm_tensor lm_input_(lm_graph *g, const char *name, lm_dtype type, int rank, const int64_t *dim);
// Asking again for the same full name gives the same tensor.
lm_tensor lm_param_(lm_graph *g, const char *name, lm_init init, int rank, const int64_t *dim);
// What the parameter is to the optimiser: a group that the network family numbers, and how many matrices of equal shape
// it stacks along its first dimension (q, k and v: 3).
void lm_param_group(lm_graph *g, lm_tensor param, int group, int parts);
lm_tensor lm_op_(lm_graph *g, lm_op op, const lm_tensor *in, int count); // any op; the named builders below use it
lm_tensor lm_view_(lm_graph *g, lm_tensor x, int rank, const int64_t *dim);
lm_tensor lm_cast_(lm_graph *g, lm_tensor x, lm_dtype type); // x itself when it has that type
lm_tensor lm_conv_(lm_graph *g, lm_tensor x, lm_tensor w, lm_tensor b, lm_tensor acc, lm_axis axis, int stride);
lm_tensor lm_linear_(lm_graph *g, lm_tensor x, lm_tensor w, lm_tensor b, lm_tensor acc);
lm_tensor lm_norm_(lm_graph *g, lm_tensor x, lm_tensor gamma, lm_tensor beta, lm_tensor ss, lm_norm_attr attr);
lm_tensor lm_silu_(lm_graph *g, lm_tensor x);
lm_tensor lm_gelu_(lm_graph *g, lm_tensor x);
lm_tensor lm_add_(lm_graph *g, lm_tensor a, lm_tensor b);
lm_tensor lm_add_position_(lm_graph *g, lm_tensor x, lm_tensor p);
lm_tensor lm_attention_(lm_graph *g, lm_tensor qkv, lm_tensor text_kv, lm_tensor mask, lm_attention_attr attr);
lm_tensor lm_upsample_(lm_graph *g, lm_tensor x, int time, int space);
lm_tensor lm_concat_(lm_graph *g, lm_tensor a, lm_tensor b);
lm_tensor lm_slice_(lm_graph *g, lm_tensor x, int64_t first, int64_t count);
lm_tensor lm_space_to_depth_(lm_graph *g, lm_tensor x, int factor);
lm_tensor lm_depth_to_space_(lm_graph *g, lm_tensor x, int factor);
lm_tensor lm_fourier_(lm_graph *g, lm_tensor t, lm_fourier_attr attr);
lm_tensor lm_masked_mean_(lm_graph *g, lm_tensor x, lm_tensor mask);
lm_tensor lm_embedding_(lm_graph *g, lm_tensor ids, lm_tensor table);
lm_tensor lm_mse_(lm_graph *g, lm_tensor y, lm_tensor target);

#define LM_HERE(g) lm_graph_here(g, __FILE__, __LINE__)
#define LM_DIMS(...)                                                                                                   \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) {                                           \
        __VA_ARGS__                                                                                                    \
    }
#define lm_input(g, name, type, ...) lm_input_(LM_HERE(g), name, type, LM_DIMS(__VA_ARGS__))
#define lm_param(g, name, init, ...) lm_param_(LM_HERE(g), name, init, LM_DIMS(__VA_ARGS__))
#define lm_view(g, x, ...) lm_view_(LM_HERE(g), x, LM_DIMS(__VA_ARGS__))
#define lm_cast(g, ...) lm_cast_(LM_HERE(g), __VA_ARGS__)
#define lm_conv(g, ...) lm_conv_(LM_HERE(g), __VA_ARGS__)
#define lm_linear(g, ...) lm_linear_(LM_HERE(g), __VA_ARGS__)
#define lm_norm(g, ...) lm_norm_(LM_HERE(g), __VA_ARGS__)
#define lm_silu(g, ...) lm_silu_(LM_HERE(g), __VA_ARGS__)
#define lm_gelu(g, ...) lm_gelu_(LM_HERE(g), __VA_ARGS__)
#define lm_add(g, ...) lm_add_(LM_HERE(g), __VA_ARGS__)
#define lm_add_position(g, ...) lm_add_position_(LM_HERE(g), __VA_ARGS__)
#define lm_attention(g, ...) lm_attention_(LM_HERE(g), __VA_ARGS__)
#define lm_upsample(g, ...) lm_upsample_(LM_HERE(g), __VA_ARGS__)
#define lm_concat(g, ...) lm_concat_(LM_HERE(g), __VA_ARGS__)
#define lm_slice(g, ...) lm_slice_(LM_HERE(g), __VA_ARGS__)
#define lm_space_to_depth(g, ...) lm_space_to_depth_(LM_HERE(g), __VA_ARGS__)
#define lm_depth_to_space(g, ...) lm_depth_to_space_(LM_HERE(g), __VA_ARGS__)
#define lm_fourier(g, ...) lm_fourier_(LM_HERE(g), __VA_ARGS__)
#define lm_masked_mean(g, ...) lm_masked_mean_(LM_HERE(g), __VA_ARGS__)
#define lm_embedding(g, ...) lm_embedding_(LM_HERE(g), __VA_ARGS__)
#define lm_mse(g, ...) lm_mse_(LM_HERE(g), __VA_ARGS__)

// Marks a tensor to be kept and readable after a run.
void lm_output(lm_graph *g, lm_tensor t);

// Longest run of nodes that a plan may execute frames by frames, so that activations stay in cache; 1 turns it off.
// Takes memory: a run's tensors all live at once. The values don't change.
void lm_graph_chain(lm_graph *g, int nodes);

// Which parameters are trained; call before building the model. NULL: all. Default: none.
typedef bool (*lm_trainable_fn)(const char *name);
void lm_graph_train(lm_graph *g, lm_trainable_fn trainable);
// Also compute the gradient of an input (gradient tests). Read it with lm_grad.
void lm_graph_want_grad(lm_graph *g, lm_tensor input);
// Appends the backward pass of the scalar loss: the gradients of every trainable parameter and wanted input.
void lm_graph_backward(lm_graph *g, lm_tensor loss);
lm_tensor lm_grad(const lm_graph *g, lm_tensor t); // after backward; LM_NONE when the loss doesn't depend on t

// Fills parameter i of g in the block of all: PyTorch's default distributions, drawn from (seed, name), so that a
// parameter's values don't depend on which others there are.
void lm_param_born(const lm_graph *g, int i, uint64_t seed, float *block);

int lm_graph_params(const lm_graph *g);
const lm_param_info *lm_graph_param(const lm_graph *g, int i);
int64_t lm_graph_param_count(const lm_graph *g); // elements of the flat block of all parameters
int64_t lm_graph_grad_count(const lm_graph *g);  // elements of the flat block of gradients
double lm_graph_flops(const lm_graph *g);        // floating-point operations of all its nodes
