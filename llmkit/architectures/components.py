"""Components: which row of the table a tensor belongs to, by what its path and the class of its module say.

The words are those that the models' code calls its parts; the first row of `_RULES` that fits decides. What none
fits is called by the name of its own module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

TOKEN_EMBEDDINGS = "token embeddings"
POSITION_EMBEDDINGS = "position embeddings"
SEGMENT_EMBEDDINGS = "segment embeddings"
PATCH_EMBEDDING = "patch embedding"
LEARNED_TOKENS = "learned tokens"
EMBEDDING_PROJECTION = "embedding projection"
EMBEDDING_NORM = "embedding norm"
OTHER_EMBEDDINGS = "other embeddings"
ATTENTION = "attention"
CROSS_ATTENTION = "cross-attention"
RELATIVE_POSITIONS = "relative position bias"
STATE_SPACE = "state-space mixer"
RECURRENT = "recurrent mixer"
FEED_FORWARD = "feed-forward"
EXPERTS = "experts"
SHARED_EXPERTS = "shared experts"
ROUTER = "router"
LAYER_NORMS = "layer norms"
LAYER_SCALE = "layer scale"
BATCH_NORMS = "batch norms"
CONVOLUTION = "convolution"
DOWNSAMPLING = "downsampling"
ACTIVATIONS = "activations"
ADAPTERS = "adapters"
CODEBOOK = "codebook"
FINAL_NORM = "final norm"
OTHER_NORMS = "other norms"
POOLER = "pooler"
PROJECTION = "projection"
OUTPUT_LAYER = "output layer"
CLASSIFIER = "classifier"
PREDICTION_HEADS = "prediction heads"


def _step(*words: str) -> str:
    """Return a pattern for one whole step of a path, between dots."""
    return rf"(?:^|\.)(?:{'|'.join(words)})(?=$|\.)"


def _word(*words: str) -> str:
    """Return a pattern for a word of a path, between dots and underscores."""
    return rf"(?:^|[._])(?:{'|'.join(words)})(?=$|[._])"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A component, and what must be found for it.

    Attributes:
        path: looked for in the path, in either case; "" for any.
        module: looked for in the class of the module that holds the tensor; "" for any.
        in_layer: True for tensors in a numbered layer, False for those outside, None for all.
    """

    component: str
    path: str = ""
    module: str = ""
    in_layer: bool | None = None

    def fits(self, path: str, module_class: str, in_layer: bool) -> bool:
        if self.in_layer not in (None, in_layer):
            return False
        # Compiled when they are first needed (re keeps them): an answer from the cache needs none of them.
        return bool(re.search(self.path, path, re.IGNORECASE) and re.search(self.module, module_class))


_NORM_CLASS = r"Norm"
_NORM_PATH = _step(r"\w*_?norm\d*", r"\w*norm_\w+", r"ln_?\w{0,6}", r"\w*_ln\d?", r"\w*layr?norm\w*")
_ATTENTION_STEP = r"(?:^|\.)\w*(?:attn|attention|attend)\w*\."
_NUMBER = r"(?:\*|\d+|\{[\d,-]+\})"

# Heads first: their parts are called after what they predict, whatever they are made of.
_HEADS = (
    _Rule(
        CLASSIFIER,
        _step(
            "classifier",
            "score",
            "qa_outputs",
            "seq_relationship",
            "classification_head",
            "start_logits",
            "end_logits",
            "sequence_summary",
            "logits_proj",
            "answer_class",
        ),
    ),
    _Rule(
        OUTPUT_LAYER,
        _step(
            r"\w*lm_head",
            "embed_out",
            "output_projection",
            r"vocab_\w+",
            "final_logits_bias",
            r"generator_\w+",
            "lm_loss",
            "pred_layer",
            "predictions",
            "codec_head",
        )
        + r"|^cls\.",
    ),
    _Rule(POOLER, _step("head") + r".*\.(?:attention|mlp|layernorm)\.|\.head\.probe"),
    _Rule(
        PREDICTION_HEADS, _step(r"\w+_heads?", r"\w*(?:bbox|class)_embed", r"predict_\w+", r"\w+_predictor")
    ),
)
_POSITIONS = (
    _Rule(
        RELATIVE_POSITIONS,
        r"relative_attention_bias|relative_position|rel_pos|rel_embeddings|rel_attn_embed|relative_bias|relative_key"
        r"|(?:^|\.)r_[wrs]_bias|seg_embed$|pos(?:ition)?_bias|distance_embedding|attention_biases",
    ),
    _Rule(
        POSITION_EMBEDDINGS,
        _step(
            "wpe",
            r"\w*pos(?:ition(?:al|s)?)?_?(?:embed\w*|emb|encod\w*|table)",
            r"embed_positions?\w*",
            r"positional_\w+",
            "pos_conv_embed",
            r"positions_embed\w*",
            r"[xyhw]_position_embeddings",
        ),
    ),
)
_EMBEDDINGS = (
    _Rule(SEGMENT_EMBEDDINGS, r"token_type|segment_embed"),
    _Rule(PATCH_EMBEDDING, r"patch_?embed|patch_conv|patchif|patch_proj|patch_dense|" + _step("patcher")),
    _Rule(
        LEARNED_TOKENS,
        _step(
            r"\w*(?:cls|class|mask|distillation|register|dist|sep|det|query|iou|group)_?tokens?",
            "class_embedding",
            "masked_spec_embed",
            "latents?",
            "probe",
            r"\w*quer(?:y|ies)_(?:embed\w*|feat\w*)",
            "image_newline",
        ),
    ),
    _Rule(CODEBOOK, _word("codebooks?", "codevectors", "quantizers?", "vq")),
    _Rule(
        EMBEDDING_PROJECTION,
        r"embedding_hidden_mapping_in|embeddings?_proj|embedding_transformation|embeddings\.projection\.|"
        + _step("project_in", "project_out"),
    ),
    _Rule(
        EMBEDDING_NORM, r"embed\w*\.(?:.*\.)?\w*norm|embed\w*norm|norm_embed|embedding_norm", in_layer=False
    ),
    _Rule(EMBEDDING_NORM, r"(?:^|\.)pre_la?y\w*norm|norm_pre|(?:^|\.)ln_pre", in_layer=False),
    _Rule(
        TOKEN_EMBEDDINGS,
        r"word_embed|word_emb|wte|embed_tokens|tok(?:en)?s?_?embed|text_embed|codec_embedding|input_embed|"
        + _step("shared", "embed_in", "emb", "w")
        + r"|^(?:\w+\.)?embeddings?\.weight",
        "Embed",
    ),
    _Rule(OTHER_EMBEDDINGS, "", r"Embedding$"),
)
# What a vision or audio model is joined to a language model with is one part, whatever it is made of.
_JOINTS = (
    _Rule(
        PROJECTION,
        r"multi_?modal_proj|projector|connector|aligner|modality_proj|merger|abstractor|resampler|feature_projection|"
        + _step(r"(?:text|visual?|vision|image|audio|language|speech)_proj\w*"),
    ),
    _Rule(POOLER, r"pooler|attention_pool|attnpool|pool_head"),
)
_EXPERTS = (
    _Rule(SHARED_EXPERTS, r"shared_experts?|shared_mlp"),
    _Rule(ROUTER, r"router|e_score_correction_bias", in_layer=True),
    _Rule(ROUTER, r"(?:moe|mlp|ffn|feed_forward|experts?)\.(?:gate|wg)\.(?:\w+\.)?\w+$", in_layer=True),
    _Rule(EXPERTS, _step("experts?", r"expert_\w+", r"\w+_experts?")),
    _Rule(EXPERTS, "", "Experts"),
)
_NORMS = (
    _Rule(DOWNSAMPLING, r"down_?sampl"),
    _Rule(LAYER_SCALE, r"layer_?scale|lambda_?\d?$|\.gamma_?\d?$|\.ls\d", in_layer=True),
    _Rule(BATCH_NORMS, "", r"BatchNorm"),
    _Rule(ATTENTION, _ATTENTION_STEP + r"(?:\w+\.)*(?:q|k|v|kv|qk|query|key|value)\w*(?:norm|ln)\w*\."),
    _Rule(
        STATE_SPACE,
        r"mamba|(?:^|\.)ssm|\.mixer\.(?:\w+\.)*(?:a_log|d$|dt_\w+|in_proj|x_proj|out_proj|conv1d|norm)",
    ),
    _Rule(RECURRENT, r"[ms]lstm_layer|rg_?lru|recurrent_block|temporal_block"),
    _Rule(RECURRENT, "", r"^(?:LSTM|GRU|RNN)$"),
    _Rule(LAYER_NORMS, _NORM_PATH, in_layer=True),
    _Rule(LAYER_NORMS, "", _NORM_CLASS, in_layer=True),
    _Rule(
        FINAL_NORM, r"(?:^|\.)(?:ln_f|norm_f|ln_out|out_norm|last\w*norm|\w*final\w*norm\w*|\w*post\w*norm)\."
    ),
    _Rule(FINAL_NORM, r"^(?:\w+\.){0,2}(?:layer_?)?norm(?:_?\d)?\.\w+$", in_layer=False),
    _Rule(OTHER_NORMS, _NORM_PATH),
    _Rule(OTHER_NORMS, "", _NORM_CLASS),
)
_BLOCKS = (
    _Rule(ADAPTERS, r"adapter"),
    _Rule(
        CROSS_ATTENTION,
        r"cross_?att|encoder_attn|encdecatt|enc_dec_att|encoder_decoder_att|multihead_attn|"
        + _step("encoder_att"),
    ),
    _Rule(ATTENTION, r"attn|attention|queries_keys_values|" + _step("mha", r"self_att\w*", "time_mix")),
    _Rule(
        ATTENTION,
        _step(r"(?:q|k|v|o|query|key|value|qkv|query_key_value)_?(?:proj|lin)?") + r"\.(?:weight|bias)$",
    ),
    _Rule(
        FEED_FORWARD,
        r"mlp|ffn|ffw|input_ff|feed_?forward|intermediate|denserelu|fc_?\d|linear_?[12]|lin[12]|dense_h_to_4h|dense_4h|pwconv"
        r"|pointwise|c_fc|c_proj|_inter\.|(?:lang|visn)_output|linear_(?:up|down)|\.(?:gate|up|down)_proj|\.w[123io]_?\d?\.|"
        + _step("ff", "fc", "ffn")
        + rf"|{_NUMBER}\.output\w*\.dense|(?:^|\.)output\w*\.dense",
        in_layer=True,
    ),
    _Rule(DOWNSAMPLING, r"patch_merg"),
    _Rule(ACTIVATIONS, "", r"Snake|PReLU|Activation"),
    _Rule(CONVOLUTION, "", r"Conv|Parametriz"),
    _Rule(CONVOLUTION, r"conv"),
    _Rule(PROJECTION, r"proj|(?:text|vision)_model\.head\."),
    _Rule(OUTPUT_LAYER, r"(?:^|\.)(?:head|decoder)\.(?:weight|bias)$"),
    _Rule(OTHER_EMBEDDINGS, r"embed"),
)

_RULES = (*_HEADS, *_POSITIONS, *_EMBEDDINGS, *_JOINTS, *_EXPERTS, *_NORMS, *_BLOCKS)
_NUMBERED = re.compile(rf"(?:^|\.)\w*{_NUMBER}(?=\.|$)")


@lru_cache(maxsize=4096)
def component_of(name: str, module_class: str, ndim: int) -> str:
    """Return the component that a parameter belongs to.

    Args:
        name: its path, the numbers of layers as ``*`` or as they are.
        module_class: the class of the module that holds it.
        ndim: its number of dimensions.
    """
    in_layer = bool(_NUMBERED.search(name))
    fitting = next((rule.component for rule in _RULES if rule.fits(name, module_class, in_layer)), None)
    return fitting or _own_name(name)


def _own_name(name: str) -> str:
    """Return the name of a tensor's own module in words, or its own outside of any."""
    steps = [step for step in name.split(".") if not re.fullmatch(_NUMBER, step)]
    own = steps[-2] if len(steps) > 1 else steps[-1]
    return own.replace("_", " ").lower()
