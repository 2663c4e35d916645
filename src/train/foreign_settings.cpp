// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/foreign_settings.h"

#include <algorithm>
#include <vector>

#include "corda/core/text.h"

namespace corda::train {

namespace {

struct Foreign {
  std::vector<std::string_view> names;
  const char* here;
};

constexpr const char* kBatch =
    "here optim.batch_size is the samples of a whole optimizer step; how they are cut into "
    "micro-batches follows from optim.micro_batch_tokens";
constexpr const char* kQuantised = "use base: nf4 or base: fp8, or give a model that is quantised";
constexpr const char* kPrecision = "use precision: bf16, fp32 or auto";
constexpr const char* kTrain = "use data.train, a list of files";
constexpr const char* kKernels =
    "there is nothing to set: attention, norms and losses use fused kernels wherever a GPU allows "
    "them";
constexpr const char* kTracker =
    "use log: [jsonl, tensorboard], which writes event files; there are no other trackers, and "
    "RUN/metrics.jsonl has one JSON object for every step";
constexpr const char* kOneGpu =
    "use --gpus N or a launcher (docs/cluster.md); shard: true splits the frozen base, or "
    "all that method full trains, over GPUs";
constexpr const char* kOptimizer =
    "the optimizer is AdamW: optim.betas, optim.eps, "
    "optim.weight_decay";
constexpr const char* kBest =
    "use checkpoint.best: true, which makes the step with the lowest evaluation loss the result";

// Hugging Face's Trainer and PEFT, TRL, axolotl, LLaMA-Factory and Unsloth; what they share stands
// once.
const std::vector<Foreign>& table() {
  static const std::vector<Foreign> rows = {
      {{"gradient_accumulation_steps", "per_device_train_batch_size", "train_batch_size",
        "micro_batch_size", "auto_find_batch_size", "per_gpu_train_batch_size",
        "micro_batch_size_per_gpu", "global_batch_size"},
       kBatch},
      {{"per_device_eval_batch_size", "eval_batch_size", "eval_accumulation_steps"},
       "evaluation uses optim.micro_batch_tokens too"},
      {{"load_in_4bit", "load_in_8bit", "quantization_bit", "quantization_method",
        "quantization_config", "bnb_4bit_compute_dtype", "bnb_4bit_quant_type",
        "double_quantization", "bnb_4bit_use_double_quant", "gptq", "qlora", "llm_int8_threshold",
        "loftq_config"},
       kQuantised},
      {{"bf16", "fp16", "tf32", "pure_bf16", "bfloat16", "float16", "torch_dtype", "dtype",
        "bf16_full_eval", "fp16_full_eval", "fp16_opt_level", "half_precision_backend",
        "mixed_precision", "upcast_layernorm", "autocast_adapter_dtype"},
       kPrecision},
      {{"fp8", "use_fp8", "enable_fp8", "fp8_config", "fp8_recipe", "fp8_backend"},
       "use precision: fp8 for products in float8, base: fp8 to hold the frozen weights in it"},
      {{"learning_rate"}, "use optim.lr"},
      {{"embedding_lr", "loraplus_lr_embedding", "lr_groups"},
       "one rate holds for everything that is trained: optim.lr, but for optim.lora_plus_ratio"},
      {{"loraplus_lr_ratio", "lorap_lr_ratio"}, "use optim.lora_plus_ratio"},
      {{"num_train_epochs", "num_epochs", "train_epochs", "n_epochs"}, "use optim.epochs"},
      {{"max_train_steps", "num_steps", "total_steps", "iters"}, "use optim.max_steps"},
      {{"warmup_steps", "num_warmup_steps", "lr_warmup_steps"},
       "use optim.warmup_ratio, the share of all steps in which the rate rises"},
      {{"lr_scheduler_type", "lr_scheduler", "lr_schedule", "scheduler"},
       "use optim.schedule: cosine, linear or constant"},
      {{"lr_scheduler_kwargs", "cosine_min_lr_ratio", "cosine_constant_lr_ratio", "min_lr",
        "lr_decay_style"},
       "the schedules of optim.schedule end at zero, but for constant"},
      {{"max_grad_norm", "gradient_clipping", "clip_grad", "grad_clip_norm"},
       "use optim.grad_clip"},
      {{"adam_beta1", "adam_beta2", "adam_betas"}, "use optim.betas: [0.9, 0.999]"},
      {{"adam_epsilon", "adam_eps"}, "use optim.eps"},
      {{"optim", "optimizer", "optim_args", "optimizer_type", "use_galore", "use_apollo",
        "use_badam", "adam_mini", "use_adam_mini", "use_muon"},
       kOptimizer},
      {{"lora_r", "lora_rank", "r", "peft_r"}, "use lora.rank"},
      {{"lora_alpha", "peft_alpha"}, "use lora.alpha"},
      {{"lora_dropout"}, "use lora.dropout"},
      {{"lora_target", "lora_target_modules", "lora_target_linear", "target_linear", "lora_modules",
        "target_parameters"},
       "use lora.target_modules, a list of names or all-linear"},
      {{"lora_modules_to_save", "modules_to_save", "additional_target"},
       "beside the adapter nothing is trained; method: full trains everything"},
      {{"use_dora", "lora_use_dora", "peft_use_dora"}, "use method: dora"},
      {{"use_rslora", "rslora", "peft_use_rslora"}, "use lora.use_rslora: true"},
      {{"init_lora_weights", "pissa_init", "pissa_iter", "peft_init_lora_weights"},
       "use method: lora, pissa or corda"},
      {{"finetuning_type", "peft_type", "training_mode", "fine_tune_type", "tuner_type",
        "use_peft"},
       "use method: corda, lora, pissa, dora or full"},
      {{"lora_bias", "bias"}, "biases are not trained with an adapter"},
      {{"layers_to_transform", "peft_layers_to_transform", "layers_pattern", "rank_pattern",
        "alpha_pattern"},
       "a new adapter has one rank and all layers of lora.target_modules; make the adapter with "
       "PEFT "
       "and name it in 'adapter' for others"},
      {{"base_model", "model_name_or_path", "model_name", "model_id", "base_model_name_or_path",
        "pretrained_model_name_or_path", "model_path", "model_dir"},
       "use model, the directory of a Hugging Face model"},
      {{"tokenizer", "tokenizer_name", "tokenizer_name_or_path", "tokenizer_config",
        "tokenizer_type", "model_type", "trust_remote_code", "use_fast_tokenizer",
        "tokenizer_use_fast", "special_tokens", "add_tokens", "resize_vocab"},
       "model and tokenizer are read from the directory 'model' as they stand there"},
      {{"adapter_name_or_path", "lora_model_dir", "peft_model", "adapter_path", "lora_path"},
       "use adapter, the directory to start from"},
      {{"output_dir", "save_path", "out_dir"}, "use out"},
      {{"overwrite_output_dir", "overwrite_cache"},
       "an earlier run is never written over; choose another 'out' or delete it"},
      {{"resume_from_checkpoint", "auto_resume_from_checkpoints"},
       "give --resume on the command line; it takes the newest checkpoint of 'out'"},
      {{"dataset", "datasets", "train_file", "data_path", "dataset_name", "train_dataset",
        "dataset_dir", "dataset_path", "train_data", "data_files"},
       kTrain},
      {{"data.path", "data.paths", "data.file", "data.files"}, kTrain},
      {{"eval_dataset", "test_datasets", "validation_file", "valid_file", "eval_data"},
       "use data.eval, a list of files"},
      {{"val_set_size", "validation_split", "eval_split", "test_size", "val_size",
        "validation_split_percentage"},
       "name the samples to evaluate on in data.eval; {path: a.jsonl, first: 900, count: 100} is a "
       "part of a file, and data.train can have the other"},
      {{"dataset_text_field", "text_column", "prompt_column", "response_column", "field_messages",
        "field_instruction", "message_property_mappings", "train_on_input"},
       "name columns in the entries of data.train: {path: a.jsonl, columns: {instruction: "
       "question}}"},
      {{"max_samples", "max_train_samples", "max_eval_samples"},
       "give the file a count: data.train: [{path: a.jsonl, count: 1000}]"},
      {{"mix", "mixture", "mix_strategy", "interleave_probs", "interleave_prob", "dataset_weights",
        "probabilities", "sampling_weights"},
       "give every file a weight: data.train: [{path: a.jsonl, weight: 3}, {path: b.jsonl, weight: "
       "1}]"},
      {{"dataset_format", "dataset_type", "formatting_func"},
       "give the file a format: data.train: [{path: a.jsonl, format: alpaca}]"},
      {{"train_on_inputs", "train_on_prompt", "completion_only_loss", "assistant_only_loss",
        "mask_history", "train_on_responses_only", "response_template", "roles_to_train",
        "train_on_eos", "mask_prompt"},
       "use data.train_on: assistant, last or all"},
      {{"chat_template", "chat_template_path", "conversation_template", "prompt_template",
        "chat_template_jinja", "chat_template_strategy"},
       "use data.template"},
      {{"default_system", "default_system_message", "system_prompt"}, "use data.system"},
      {{"max_seq_length", "max_seq_len", "seq_length", "seq_len", "sequence_len", "cutoff_len",
        "model_max_length", "block_size", "max_prompt_length", "context_length", "max_tokens"},
       "use data.max_length"},
      {{"excess_length_strategy", "truncation", "truncation_strategy", "truncation_side"},
       "use data.overlong: truncate or drop"},
      {{"sample_packing", "neat_packing", "eval_packing", "packing_strategy", "multipack",
        "padding_free", "eval_sample_packing", "pad_to_sequence_len", "group_by_length",
        "length_column_name", "train_sampling_strategy", "sample_packing_eff_est",
        "pad_to_multiple_of", "flat_packing"},
       "use data.packing: true or false; batches are never padded"},
      {{"dataset_prepared_path", "tokenized_path", "preprocessing_num_workers", "dataset_num_proc",
        "dataset_processes", "dataloader_num_workers", "dataloader_pin_memory",
        "dataset_keep_in_memory", "streaming", "dataloader_drop_last", "remove_unused_columns",
        "dataloader_prefetch_factor", "buffer_size"},
       "data are read and tokenised by all 'threads'; data.cache keeps them"},
      {{"shuffle", "shuffle_merged_datasets", "data_seed", "train_seed", "dataset_shuffle",
        "random_state"},
       "every epoch is shuffled; the order depends on 'seed'"},
      {{"gradient_checkpointing", "gradient_checkpointing_kwargs", "use_gradient_checkpointing",
        "activation_checkpointing", "disable_gradient_checkpointing", "use_reentrant",
        "activation_offloading", "grad_checkpoint", "unsloth_gc"},
       "use recompute: none, selective, block or auto, and offload"},
      {{"flash_attention",
        "flash_attn",
        "attn_implementation",
        "sdp_attention",
        "xformers_attention",
        "use_flash_attention_2",
        "flash_attention_2",
        "use_liger_kernel",
        "enable_liger_kernel",
        "liger_rope",
        "use_unsloth",
        "unsloth",
        "torch_compile",
        "torch_compile_backend",
        "use_kernels",
        "s2_attention",
        "attn_impl",
        "flash_attn_cross_entropy",
        "liger_fused_linear_cross_entropy",
        "lora_mlp_kernel",
        "lora_qkv_kernel",
        "lora_o_kernel"},
       kKernels},
      {{"deepspeed", "fsdp", "fsdp_config", "ddp_timeout", "ddp_find_unused_parameters",
        "local_rank", "num_gpus", "nproc_per_node", "tensor_parallel_size",
        "sequence_parallel_degree", "context_parallel_size", "parallelism_config",
        "accelerator_config", "ddp_backend", "n_gpu", "world_size", "device_map", "max_memory",
        "gpus"},
       kOneGpu},
      {{"no_cuda", "use_cpu", "use_mps_device"}, "use device: cpu"},
      {{"report_to", "wandb_project", "wandb_run_id", "wandb_entity", "wandb_name",
        "wandb_log_model", "wandb_watch", "use_wandb", "use_swanlab", "mlflow_tracking_uri",
        "use_mlflow", "use_tensorboard", "comet_project_name", "run_name", "logging_dir",
        "swanlab_project", "mlflow_experiment_name", "trackio_space_id", "project"},
       kTracker},
      {{"logging_steps", "logging_strategy", "logging_first_step", "log_level", "plot_loss",
        "include_tokens_per_second", "include_num_input_tokens_seen", "disable_tqdm",
        "logging_nan_inf_filter", "steps_per_report", "log_every_n_steps", "log_history"},
       "every step is in RUN/metrics.jsonl; there is nothing to set"},
      {{"save_steps", "save_strategy", "saves_per_epoch", "save_every", "checkpoint_every",
        "save_interval"},
       "use checkpoint.minutes, or checkpoint.every in steps"},
      {{"save_total_limit", "save_only_model", "save_safetensors", "max_checkpoints"},
       "use checkpoint.keep; a checkpoint always has the optimizer's state, as safetensors"},
      {{"load_best_model_at_end", "metric_for_best_model", "greater_is_better",
        "save_best_checkpoint"},
       kBest},
      {{"early_stopping_patience", "early_stopping", "early_stopping_threshold",
        "early_stopping_steps"},
       "use eval.patience, a number of evaluations"},
      {{"eval_steps", "eval_strategy", "evaluation_strategy", "do_eval", "evals_per_epoch",
        "steps_per_eval", "eval_on_start", "eval_delay", "eval_interval", "eval_every"},
       "use eval.every, in steps; with data.eval the last step is always evaluated"},
      {{"predict_with_generate", "generation_max_length", "compute_metrics", "eval_table_size",
        "do_predict", "do_bench_eval"},
       "corda eval measures the result of a run"},
      {{"neftune_noise_alpha", "noisy_embedding_alpha", "label_smoothing_factor", "label_smoothing",
        "dft_loss", "use_dft_loss", "use_asft_loss", "loss_type", "loss_on_outputs_only",
        "mixture_of_depths"},
       "the loss is the cross-entropy of the supervised tokens, which loss.weighting may weigh"},
      {{"use_eaft_loss", "use_eaft", "enable_eaft_loss"}, "use loss.weighting: eaft"},
      {{"eaft_alpha", "eaft_loss_alpha"}, "use loss.eaft_power"},
      {{"stage", "rl", "rl_beta", "dpo", "dpo_beta", "beta", "pref_loss", "pref_beta",
        "reward_model", "ref_model", "kto", "kto_chosen_weight", "simpo_gamma", "orpo_alpha", "trl",
        "do_train"},
       "supervised fine-tuning is what corda trains; preference and reinforcement learning are not "
       "there"},
      {{"freeze_trainable_layers", "freeze_trainable_modules", "unfrozen_parameters",
        "freeze_vision_tower", "trainable_parameters", "num_layers", "freeze_layers", "unfreeze",
        "lisa", "lisa_n_layers", "lisa_step_interval", "lisa_layers_attribute"},
       "method full trains all weights; else lora.target_modules says which layers are adapted"},
      {{"strict"}, "a setting that does not exist is always refused; there is nothing to set"},
      {{"push_to_hub", "hub_model_id", "hub_strategy", "hf_use_auth_token", "hub_token",
        "hub_private_repo", "export_dir", "merge_lora", "merge_16bit", "export_size"},
       "corda merge makes a model of base and adapter; nothing is uploaded"},
      {{"rope_scaling", "rope_theta", "max_position_embeddings", "sliding_window",
        "overrides_of_model_config", "model_config", "use_cache"},
       "the model's config.json says so; it is used as it stands there"}};
  return rows;
}

}  // namespace

std::string foreign_setting(std::string_view name) {
  std::string whole = core::to_lower_ascii(std::string(name));
  std::replace(whole.begin(), whole.end(), '-', '_');
  const std::string word(core::last_part(whole));
  for (const Foreign& row : table()) {
    const auto named = [&](std::string_view foreign) {
      return foreign == word || foreign == whole;
    };
    if (std::any_of(row.names.begin(), row.names.end(), named)) return row.here;
  }
  return "";
}

}  // namespace corda::train
