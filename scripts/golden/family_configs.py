# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""The models of tests/golden/families: what stands in each config.json, and which keys must be seen to matter."""

WINDOW = 8    # of every windowed model
ORIGINAL = 16  # positions before stretching: the longest sequence is longer, the others are not
DROP = object()  # this key is left out of config.json

SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, hidden_act="silu",
             bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=False)
GEMMA = dict(SMALL, hidden_act=DROP, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, tie_word_embeddings=True,
             head_dim=12, query_pre_attn_scalar=6)

FULL, SLIDING = "full_attention", "sliding_attention"
PLAIN = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
THETA = 10000.0


def new(kind, **more):
    """The spelling of transformers 5."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": THETA, **more}}


def old(kind, key="rope_type", **more):
    """The older spelling; before that the key was `type`."""
    return {"rope_theta": THETA, "rope_scaling": {key: kind, **more}}


def model(model_type, *parts, matters=(), **more):
    """A model; `matters` lists changes of its configuration, each of which must change the logits."""
    config = {"model_type": model_type}
    for part in parts:
        config.update(part)
    config.update(more)
    return {"config": {k: v for k, v in config.items() if v is not DROP}, "matters": list(matters)}


def twin(of, entry):
    """The same model spelled otherwise: its logits are those of `of`."""
    return dict(entry, same_as=of)


MODELS = {}

# qwen2: biases on q, k and v.
MODELS["qwen2"] = model("qwen2", SMALL, rope_theta=1000000.0, use_sliding_window=False, sliding_window=WINDOW, max_window_layers=1,
                        matters=[dict(use_sliding_window=True), dict(rope_theta=THETA)])
MODELS["qwen2-window"] = model("qwen2", SMALL, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1,
                               tie_word_embeddings=True, rope_theta=THETA, matters=[dict(max_window_layers=2), dict(sliding_window=WINDOW + 1)])
MODELS["qwen2-layer-types"] = model("qwen2", SMALL, PLAIN, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=28,
                                    layer_types=[SLIDING, FULL, SLIDING], matters=[dict(layer_types=[FULL, FULL, SLIDING])])

# qwen3: norms of q and k, head_dim of its own.
MODELS["qwen3"] = model("qwen3", SMALL, head_dim=12, rope_theta=1000000.0, matters=[dict(rope_theta=THETA)])
MODELS["qwen3-window"] = model("qwen3", SMALL, PLAIN, head_dim=12, attention_bias=True, use_sliding_window=True, sliding_window=WINDOW,
                               max_window_layers=2, tie_word_embeddings=True, matters=[dict(max_window_layers=1)])
MODELS["qwen3-layer-types"] = model("qwen3", SMALL, head_dim=12, rope_theta=THETA, use_sliding_window=True, sliding_window=WINDOW,
                                    layer_types=[FULL, SLIDING, FULL], matters=[dict(layer_types=[FULL, FULL, FULL])])

# mistral and its successors.
MODELS["mistral-window"] = model("mistral", SMALL, rope_theta=THETA, sliding_window=WINDOW, head_dim=12,
                                 matters=[dict(sliding_window=None), dict(sliding_window=WINDOW - 1)])
MODELS["ministral"] = model("ministral", SMALL, PLAIN, head_dim=12, sliding_window=WINDOW, layer_types=[FULL, SLIDING, SLIDING],
                            matters=[dict(layer_types=[SLIDING, FULL, SLIDING])])
MODELS["ministral-all-sliding"] = model("ministral", SMALL, rope_theta=THETA, head_dim=8, sliding_window=WINDOW, matters=[dict(sliding_window=WINDOW + 1)])
# 4 positions before stretching: the scale of the queries takes five values.
YARN3 = dict(type="yarn", rope_type="yarn", factor=16.0, original_max_position_embeddings=4, beta_fast=2.0, beta_slow=0.1,
             mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.4)
MODELS["ministral3"] = model("ministral3", SMALL, head_dim=12, rope_parameters=dict(YARN3, rope_theta=THETA), matters=[
    dict(rope_parameters=dict(YARN3, rope_theta=THETA, llama_4_scaling_beta=0.0)),
    dict(rope_parameters=dict(YARN3, rope_theta=THETA, beta_slow=0.3)),
    dict(rope_parameters=dict(YARN3, rope_theta=THETA, factor=2.0))])
MODELS["ministral3-window"] = model("ministral3", SMALL, head_dim=8, rope_theta=THETA, rope_scaling=YARN3, sliding_window=WINDOW,
                                    tie_word_embeddings=True, matters=[dict(sliding_window=None)])

# gemma: norms by 1 + w, embeddings times the root of their size.
MODELS["gemma"] = model("gemma", SMALL, rope_theta=THETA, hidden_act="gelu_pytorch_tanh", head_dim=12, tie_word_embeddings=True,
                        matters=[dict(hidden_act="silu")])
MODELS["gemma-bias"] = model("gemma", SMALL, PLAIN, hidden_act="gelu_pytorch_tanh", head_dim=8, num_key_value_heads=1, attention_bias=True,
                             tie_word_embeddings=DROP)
CAPS = dict(attn_logit_softcapping=1.5, final_logit_softcapping=2.0)
MODELS["gemma2"] = model("gemma2", GEMMA, CAPS, rope_theta=THETA, sliding_window=WINDOW, num_hidden_layers=4, matters=[
    dict(attn_logit_softcapping=None), dict(final_logit_softcapping=None), dict(query_pre_attn_scalar=12),
    dict(layer_types=[FULL, SLIDING, FULL, SLIDING])])
MODELS["gemma2-no-caps"] = model("gemma2", GEMMA, PLAIN, attn_logit_softcapping=None, final_logit_softcapping=None,
                                 sliding_window=WINDOW, layer_types=[FULL, SLIDING, SLIDING], attention_bias=True,
                                 matters=[dict(attn_logit_softcapping=1.5), dict(layer_types=[SLIDING, FULL, SLIDING])])
GEMMA3_ROPE = {FULL: dict(rope_type="linear", factor=4.0, rope_theta=1000000.0),
               SLIDING: dict(rope_type="default", rope_theta=THETA)}
GEMMA3_NESTED = model("gemma3_text", GEMMA, rope_parameters=GEMMA3_ROPE, sliding_window=WINDOW, num_hidden_layers=4,
                      layer_types=[SLIDING, SLIDING, FULL, SLIDING], matters=[
                          dict(rope_parameters=dict(GEMMA3_ROPE, full_attention=dict(rope_type="default", rope_theta=1000000.0))),
                          dict(rope_parameters=dict(GEMMA3_ROPE, sliding_attention=dict(rope_type="default", rope_theta=1000.0))),
                          dict(layer_types=[SLIDING, FULL, SLIDING, SLIDING]), dict(query_pre_attn_scalar=12),
                          dict(sliding_window=WINDOW + 2)])
MODELS["gemma3-text"] = GEMMA3_NESTED
MODELS["gemma3-text-old"] = twin("gemma3-text", model(
    "gemma3_text", GEMMA, rope_theta=1000000.0, rope_local_base_freq=THETA, rope_scaling=dict(rope_type="linear", factor=4.0),
    sliding_window=WINDOW, num_hidden_layers=4, sliding_window_pattern=3))
MODELS["gemma3-text-defaults"] = twin("gemma3-text", model(  # both bases as they are where the file says nothing
    "gemma3_text", GEMMA, rope_scaling=dict(rope_type="linear", factor=4.0), sliding_window=WINDOW, num_hidden_layers=4,
    layer_types=[SLIDING, SLIDING, FULL, SLIDING], tie_word_embeddings=DROP))
MODELS["gemma3-text-caps"] = model("gemma3_text", GEMMA, dict(final_logit_softcapping=2.0), sliding_window=WINDOW, attention_bias=True,
                                   matters=[dict(final_logit_softcapping=None)])

# phi3: fused projections.
LONG = dict(short_factor=[1.0, 1.3, 1.7, 2.0], long_factor=[1.5, 3.0, 6.0, 12.0])
PHI3 = dict(SMALL, max_position_embeddings=64, original_max_position_embeddings=ORIGINAL)
MODELS["phi3"] = model("phi3", SMALL, rope_theta=THETA, rope_scaling=None, resid_pdrop=0.0, embd_pdrop=0.0)
MODELS["phi3-window"] = model("phi3", SMALL, PLAIN, sliding_window=WINDOW, num_key_value_heads=4, matters=[dict(sliding_window=None)])
MODELS["phi3-partial"] = model("phi3", SMALL, rope_theta=THETA, partial_rotary_factor=0.75, tie_word_embeddings=True,
                               matters=[dict(partial_rotary_factor=1.0)])
MODELS["phi3-longrope"] = model("phi3", PHI3, new("longrope", **LONG, original_max_position_embeddings=99),
                                matters=[dict(max_position_embeddings=32), dict(original_max_position_embeddings=32)])
MODELS["phi3-longrope-su"] = twin("phi3-longrope", model("phi3", PHI3, old("su", "type", **LONG, original_max_position_embeddings=99)))
MODELS["phi3-longrope-yarn"] = twin("phi3-longrope", model("phi3", PHI3, old("yarn", "type", **LONG)))
MODELS["phi3-longrope-old"] = twin("phi3-longrope", model("phi3", PHI3, old("longrope", "type", **LONG)))
MODELS["phi3-longrope-partial"] = model(
    "phi3", PHI3, new("longrope", short_factor=[1.0, 1.3, 1.7], long_factor=[1.5, 3.0, 6.0], partial_rotary_factor=0.75,
                      attention_factor=1.25), tie_word_embeddings=True)

# olmo: norms after attention and feed-forward, of q and k over the whole projection.
MODELS["olmo2"] = model("olmo2", SMALL, rope_theta=500000.0, matters=[dict(rope_theta=THETA)])
MODELS["olmo2-bias"] = model("olmo2", SMALL, PLAIN, attention_bias=True, num_key_value_heads=DROP)
OLMO3_YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=ORIGINAL, beta_fast=2.0, beta_slow=0.1,
                  attention_factor=1.2)
OLMO3 = dict(SMALL, num_hidden_layers=4, sliding_window=WINDOW)
MODELS["olmo3"] = model("olmo3", OLMO3, rope_theta=500000.0, rope_scaling=OLMO3_YARN, matters=[
    dict(rope_scaling=None), dict(layer_types=[FULL, SLIDING, SLIDING, SLIDING]), dict(sliding_window=WINDOW + 1)])
MODELS["olmo3-nested"] = twin("olmo3", model("olmo3", OLMO3, layer_types=[SLIDING, SLIDING, SLIDING, FULL], rope_parameters={
    FULL: dict(OLMO3_YARN, rope_theta=500000.0, truncate=False),  # not seen inside a layer type
    SLIDING: dict(rope_type="default", rope_theta=500000.0)}))
# A base on top is that of the full layers alone.
MODELS["olmo3-old-theta"] = model("olmo3", OLMO3, rope_theta=100.0, layer_types=[FULL, SLIDING, FULL, SLIDING],
                                  tie_word_embeddings=True, attention_bias=True,
                                  matters=[dict(rope_theta=500000.0)])
MODELS["olmo3-old-theta-nested"] = twin("olmo3-old-theta", model(
    "olmo3", OLMO3, layer_types=[FULL, SLIDING, FULL, SLIDING], tie_word_embeddings=True, attention_bias=True,
    rope_parameters={FULL: dict(rope_type="default", rope_theta=100.0), SLIDING: dict(rope_type="default", rope_theta=500000.0)}))

# granite: four multipliers.
GRANITE = dict(embedding_multiplier=3.0, attention_multiplier=0.25, residual_multiplier=0.6, logits_scaling=1.7)
MODELS["granite"] = model("granite", SMALL, GRANITE, rope_theta=THETA, tie_word_embeddings=True,
                          matters=[{key: 1.0} for key in GRANITE])
MODELS["granite-bias"] = model("granite", SMALL, PLAIN, attention_bias=True, mlp_bias=True, embedding_multiplier=2,
                               matters=[dict(embedding_multiplier=1.0)])

# smollm3: layers without rotation.
MODELS["smollm3"] = model("smollm3", SMALL, rope_theta=THETA, no_rope_layers=[1, 0, 1],
                          matters=[dict(no_rope_layers=[1, 1, 1]), dict(no_rope_layers=[0, 1, 1])])
MODELS["smollm3-interval"] = model("smollm3", SMALL, no_rope_layer_interval=2, num_hidden_layers=4, use_sliding_window=True,
                                   sliding_window=WINDOW, attention_bias=True, mlp_bias=True, tie_word_embeddings=DROP,
                                   matters=[dict(no_rope_layer_interval=3), dict(use_sliding_window=False), dict(rope_theta=THETA)])

# glm4: fused gate and up, half of each head rotated in neighbouring pairs, four norms.
MODELS["glm4"] = model("glm4", SMALL, rope_theta=THETA, head_dim=12, matters=[dict(partial_rotary_factor=1.0)])
MODELS["glm4-no-bias"] = model("glm4", SMALL, new("default", partial_rotary_factor=0.25), head_dim=16, attention_bias=False,
                               tie_word_embeddings=True, matters=[new("default", partial_rotary_factor=0.5)])

# llama: every type of stretching, in both spellings.
LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
# 2 and 0.1 rotations: of the frequencies some are kept, some blended, some divided.
BETAS = dict(factor=4.0, beta_fast=2.0, beta_slow=0.1)
YARN = dict(BETAS, original_max_position_embeddings=ORIGINAL)
STRETCHED = {
    "linear": ("linear", dict(factor=4.0), {}),
    "dynamic": ("dynamic", dict(factor=4.0), dict(max_position_embeddings=ORIGINAL)),
    "llama3": ("llama3", LLAMA3, dict(head_dim=16)),
    "yarn": ("yarn", YARN, {}),
    "yarn-factor": ("yarn", dict(YARN, attention_factor=0.8), {}),
    "yarn-mscale": ("yarn", dict(YARN, mscale=2.0, mscale_all_dim=0.5), {}),
    "yarn-untruncated": ("yarn", dict(YARN, truncate=False), {}),
    "longrope": ("longrope", dict(LONG, factor=8.0, original_max_position_embeddings=ORIGINAL), {}),
}
for name, (kind, values, more) in STRETCHED.items():
    less = {k: values[k] for k in values if k in ("attention_factor", "mscale", "truncate")}
    without = dict(new(kind, **{k: v for k, v in values.items() if k not in less})) if less else PLAIN
    MODELS[f"llama-{name}"] = model("llama", SMALL, more, new(kind, **values), matters=[without])
    MODELS[f"llama-{name}-old"] = twin(f"llama-{name}", model("llama", SMALL, more, old(kind, **values)))
# Without a key for the positions before stretching they are max_position_embeddings.
MODELS["llama-yarn-positions"] = twin("llama-yarn", model("llama", SMALL, old("yarn", "type", **BETAS),
                                                          max_position_embeddings=ORIGINAL))
MODELS["llama-bias"] = model("llama", SMALL, PLAIN, attention_bias=True, mlp_bias=True, head_dim=12)

# Wrappers. Text behaves as the tower alone.
VISION = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
TOWER = {k: v for k, v in SMALL.items() if k != "tie_word_embeddings"}
GEMMA3_TOWER = {k: v for k, v in GEMMA3_NESTED["config"].items() if k != "tie_word_embeddings"}
MODELS["gemma3"] = model("gemma3", text_config=GEMMA3_TOWER, vision_config=dict(VISION, model_type="siglip_vision_model"),
                         mm_tokens_per_image=4, boi_token_index=61, eoi_token_index=62, image_token_index=63)
# As published: what the class has as its default is left out.
MODELS["gemma3-defaults"] = model(
    "gemma3", text_config=dict(model_type="gemma3_text", vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=6,
                               rope_scaling=dict(factor=8.0, rope_type="linear"), sliding_window=WINDOW),
    vision_config=dict(VISION, model_type="siglip_vision_model", vision_use_head=False), mm_tokens_per_image=4,
    boi_token_index=61, eoi_token_index=62, image_token_index=63, eos_token_id=[1, 2])
MODELS["mistral3"] = model("mistral3", text_config=dict(TOWER, model_type="ministral3", head_dim=12,
                                                        rope_parameters=dict(YARN3, rope_theta=THETA)),
                           vision_config=dict(VISION, model_type="pixtral", head_dim=8), image_token_index=63,
                           spatial_merge_size=2, tie_word_embeddings=False)
MODELS["mistral3-mistral"] = model("mistral3", text_config=dict(TOWER, model_type="mistral", head_dim=12, sliding_window=WINDOW,
                                                                rope_theta=THETA),
                                   vision_config=dict(VISION, model_type="pixtral", head_dim=8), image_token_index=63,
                                   spatial_merge_size=2, tie_word_embeddings=True)
MODELS["qwen3-vl"] = model(
    "qwen3_vl", text_config=dict(TOWER, model_type="qwen3_vl_text", head_dim=12, rope_theta=1000000.0,
                                 rope_scaling=dict(rope_type="default", mrope_section=[2, 2, 2], mrope_interleaved=True)),
    vision_config=dict(model_type="qwen3_vl", depth=1, hidden_size=16, intermediate_size=24, num_heads=2, out_hidden_size=32,
                       patch_size=4, num_position_embeddings=16, deepstack_visual_indexes=[0]),
    image_token_id=63, video_token_id=62, vision_start_token_id=60, vision_end_token_id=61, tie_word_embeddings=False)
