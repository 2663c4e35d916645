# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Asks llama.cpp itself what a LoRA that `corda export --format gguf` wrote does to a model, and compares with PEFT.

    python llama_cpp_check.py --corda build/cpu/bin/corda --model MODEL --gguf MODEL.gguf [--work FOLDER]

Run by hand: it needs torch, transformers and peft, and xllamacpp and gguf, whose wheels bring llama.cpp. MODEL.gguf is MODEL, as
llama.cpp's converter wrote it; of a quantised one the values are taken, as fp32, so that only the adapter can differ. A random
adapter on all linear layers is exported; of the ten likeliest tokens behind a prompt llama.cpp's log-probabilities must be
PEFT's, and the adapter must have moved them by more than ten times the error."""

import argparse
import math
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy
import torch
import xllamacpp
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "The capital of France is"
TOP = 10


def write_fp32(source, out):
    """The same model with every tensor in fp32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name in ("general.architecture", "general.file_type") or field.name.startswith("GGUF."):
            continue
        inner = {"sub_type": field.types[-1]} if field.types[0] == gguf.GGUFValueType.ARRAY else {}
        writer.add_key_value(field.name, field.contents(), field.types[0], **inner)
    writer.add_file_type(0)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def peft_answers(model, adapter):
    """The prompt's ids; log-probabilities of what follows them, without the adapter and with it."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(model)(PROMPT, return_tensors="pt")["input_ids"]
    peft = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False))
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.035)
    peft.save_pretrained(adapter)
    with torch.no_grad():
        changed = torch.log_softmax(peft(ids).logits[0, -1], -1)
        with peft.disable_adapter():
            plain = torch.log_softmax(peft(ids).logits[0, -1], -1)
    return ids[0].tolist(), {"base": plain, "adapter": changed}


def llama_cpp_answers(model, ids, adapter=None):
    """Token -> log-probability of the likeliest that follow."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx, parameters.n_gpu_layers = 64, 0
    if adapter is not None:
        info = xllamacpp.CommonAdapterLoraInfo()
        info.path, info.scale = str(adapter), 1.0
        parameters.lora_adapters = [info]
    server = xllamacpp.Server(parameters)
    answer = server.handle_completions({"prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": TOP, "n_probs": TOP})
    return {token["id"]: token["logprob"] for token in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}


def distance(found, wanted):
    return math.sqrt(sum((value - wanted[token].item()) ** 2 for token, value in found.items()) / len(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("corda", "model", "gguf"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--work", default=None)
    arguments = parser.parse_args()
    work = Path(arguments.work or tempfile.mkdtemp())
    ids, wanted = peft_answers(arguments.model, work / "adapter")
    subprocess.run([arguments.corda, "export", "--adapter", work / "adapter", "--model", arguments.model, "--format", "gguf",
                    "--out", work / "adapter.gguf", "-q"], check=True)
    write_fp32(arguments.gguf, work / "base.gguf")
    errors = {"base": distance(llama_cpp_answers(work / "base.gguf", ids), wanted["base"])}
    with_adapter = llama_cpp_answers(work / "base.gguf", ids, work / "adapter.gguf")
    errors["adapter"] = distance(with_adapter, wanted["adapter"])
    moved = distance(with_adapter, wanted["base"])
    print(f"log-probabilities, root mean square over {TOP} tokens: llama.cpp and transformers without the adapter differ by "
          f"{errors['base']:.4f}, with it llama.cpp and PEFT by {errors['adapter']:.4f}; the adapter moved them by {moved:.4f}")
    assert 10 * errors["adapter"] < moved, "llama.cpp computes something else"


if __name__ == "__main__":
    main()
