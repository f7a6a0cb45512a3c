"""Write the small model of `small.py` as GGUF, for llama.cpp: `python gguf_of.py FOLDER FILE.gguf`."""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order in which llama.cpp rotates them."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def main(folder: str, path: str) -> None:
    config = json.loads((Path(folder) / "config.json").read_text())
    vocabulary = json.loads((Path(folder) / "tokenizer.json").read_text())["model"]["vocab"]
    weights = load_file(Path(folder) / "model.safetensors")
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(len(vocabulary))
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    special = [word.startswith("<") for word in words]
    kinds = [gguf.TokenType.UNKNOWN if w == "<unk>" else gguf.TokenType.CONTROL if s else gguf.TokenType.NORMAL
             for w, s in zip(words, special, strict=True)]  # fmt: skip
    writer.add_tokenizer_model("t5")  # the likeliest way to spell a text: with whole words, the only one
    writer.add_tokenizer_pre("default")
    writer.add_token_list([word.replace(" ", "\N{LOWER ONE EIGHTH BLOCK}") for word in words])
    writer.add_token_scores([0.0 if s else -1.0 for s in special])
    writer.add_token_types(kinds)
    writer.add_eos_token_id(0)
    writer.add_unk_token_id(vocabulary["<unk>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template((Path(folder) / "chat_template.jinja").read_text())
    for name, values in weights.items():
        values = values.astype(np.float32)
        if name.startswith("model.layers."):
            _, _, at, rest = name.split(".", 3)
            part = rest.removesuffix(".weight")
            if part.endswith(("q_proj", "k_proj")):
                values = permuted(values, heads if part.endswith("q_proj") else kv)
            writer.add_tensor(f"blk.{at}.{LAYER[part]}.weight", values)
        else:
            names = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}
            writer.add_tensor(f"{names.get(name, 'output')}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
