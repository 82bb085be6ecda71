"""Which generators of random numbers a program draws from, and which it seeds."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runback.replay.source import Source

GENERATOR, ENTROPY = "unseeded generator", "system entropy"
PYTHON, NUMPY, TORCH, TENSORFLOW, KERAS = "python", "numpy", "torch", "tensorflow", "keras"
_ALL = frozenset({PYTHON, NUMPY, TORCH, TENSORFLOW, KERAS})

# What a call of this full name seeds.
_SEEDS = (
    (r"random\.seed", {PYTHON}),
    (r"numpy\.random\.seed", {NUMPY}),
    (r"torch\.(random\.)?manual_seed", {TORCH}),
    (r"tensorflow\.(random\.set_seed|compat\.v1\.set_random_seed)", {TENSORFLOW}),
    (r"(.*\.)?keras\..*set_random_seed", _ALL),
    (r"(pytorch_lightning|lightning\w*)\.(.*\.)?seed_everything", {PYTHON, NUMPY, TORCH}),
    (r"(transformers|accelerate)\..*set_seed", {PYTHON, NUMPY, TORCH, TENSORFLOW}),
    (r"runback\.determinism\.seed_\w+", _ALL),
)
# Generators of their own: without a seed, each is seeded by the system.
_OWN = re.compile(
    r"numpy\.random\.(default_rng|RandomState|SeedSequence|PCG64(DXSM)?|MT19937|Philox|SFC64)"
    r"|random\.Random|tensorflow\.random\.Generator\.from_non_deterministic_state"
)
_ENTROPY = re.compile(
    r"os\.(urandom|getrandom)|secrets\.\w+|uuid\.uuid[14]|random\.SystemRandom|torch\.(random\.)?seed"
)
# Of scikit-learn, what draws from numpy's generator if no random_state is given.
_SKLEARN = (
    r"(train_test_split|RandomForest\w+|RandomTrees\w+|ExtraTrees?\w+|DecisionTree\w+"
    r"|(Hist)?GradientBoosting\w+|Bagging\w+|AdaBoost\w+|IsolationForest|MLP\w+|SGD\w+"
    r"|PassiveAggressive\w+|LinearSV[CR]|RANSAC\w+|BernoulliRBM|(Bisecting)?KMeans|k_means"
    r"|MiniBatch\w+|Spectral(Bi|Co)?[cC]lustering|(Bayesian)?GaussianMixture|TSNE|MDS|smacof"
    r"|TruncatedSVD|randomized_svd|NMF|FastICA|fastica|LatentDirichletAllocation"
    r"|DictionaryLearning|\w+RandomProjection|RBFSampler|Nystroem|mutual_info_(classif|regression)"
    r"|permutation_importance|shuffle|resample|(Stratified|Group)?ShuffleSplit"
    r"|Repeated(Stratified)?KFold|RandomizedSearchCV|Halving\w+SearchCV|ParameterSampler"
    r"|make_(?!pipeline|union|scorer|column_)\w+)"
)
# Draws from the generator that a library shares among all who use it.
_DRAWS = (
    (PYTHON, r"random\.(?!seed|Random$|SystemRandom|getstate|setstate)\w+"),
    (
        NUMPY,
        r"numpy\.random\.(?!seed|default_rng|RandomState|Generator|BitGenerator|SeedSequence"
        r"|get_state|set_state|PCG64|MT19937|Philox|SFC64)\w+",
    ),
    (NUMPY, rf"sklearn\.(\w+\.)*{_SKLEARN}"),
    (
        TORCH,
        r"torch\.((rand|randn|randint)(_like)?|randperm|normal|bernoulli|multinomial|poisson"
        r"|nn\.init\.\w+_|nn\.functional\.\w*dropout\w*|utils\.data\.random_split)",
    ),
    (
        TORCH,
        r"torch\.nn\.(Lazy)?(Linear|Bilinear|Conv\w+|LSTM\w*|GRU\w*|RNN\w*|Embedding\w*"
        r"|MultiheadAttention|Transformer\w*|\w*Dropout\w*)",
    ),
    (TORCH, r"torchvision\.(models\.\w+|transforms\.(v2\.)?Random\w+)"),
    (TENSORFLOW, r"tensorflow\.random\.(?!set_seed|Generator|stateless_|get_|experimental)\w+"),
    (KERAS, r"keras\.(Sequential|Model|layers\.\w+|applications\.\w+|random\.\w+)"),
)
# Draws only with shuffle=True.
_SHUFFLES = (
    (NUMPY, r"sklearn\.(\w+\.)*(Stratified)?(Group)?KFold"),
    (TORCH, r"(.*\.)?data\.DataLoader"),
)
_DRAW = [(library, re.compile(pattern)) for library, pattern in _DRAWS]
_SHUFFLE = [(library, re.compile(pattern)) for library, pattern in _SHUFFLES]
_SEED = [(re.compile(pattern), seeded) for pattern, seeded in _SEEDS]
_SEED_WORDS = ("seed", "random_state", "rng", "generator", "sampler")


def seeded(sources: Iterable[Source]) -> set[str]:
    """Return the libraries that a program seeds, with something."""
    found = set[str]()
    for source in sources:
        for name, call in source.calls():
            if _has_seed(call) and not _is_drawn(source, call):
                found |= _seeded_by(name)
    # Keras draws its seeds from Python's generator, and shuffles by its backend's.
    backed = PYTHON in found and found & {TENSORFLOW, TORCH}
    return found | ({KERAS} if backed else set())


def _seeded_by(name: str) -> set[str]:
    return {library for pattern, all_of in _SEED if pattern.fullmatch(name) for library in all_of}


def own(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Yield generators that are made without a seed, and what the system draws."""
    for name, call in source.calls():
        if _ENTROPY.fullmatch(name):
            yield ENTROPY, call
        elif (_OWN.fullmatch(name) or _seeded_by(name)) and not _has_seed(call):
            yield GENERATOR, call


def shared(source: Source, without: set[str]) -> Iterator[tuple[str, ast.AST]]:
    """Yield the first draw of this file from each library's own generator.

    without: the libraries that nobody seeds.
    """
    found = set[str]()
    for name, call in sorted(source.calls(), key=lambda told: told[1].lineno):
        for library in sorted(_drawn_from(name, call) & without - found):
            found.add(library)
            yield f"{GENERATOR} of {library}", call


def _drawn_from(name: str, call: ast.Call) -> set[str]:
    words = {keyword.arg for keyword in call.keywords if not _is_none(keyword.value)}
    if any(word in (name_ or "") for name_ in words for word in _SEED_WORDS):
        return set()
    shuffles = _constant(call, "shuffle")
    is_still = shuffles is False and name.endswith(".train_test_split")
    if is_still or (None in words and name.startswith("sklearn.")):  # ** may bring a seed
        return set()
    draws = [*_DRAW, *_SHUFFLE] if shuffles is True else _DRAW
    return {library for library, pattern in draws if pattern.fullmatch(name)}


def _has_seed(call: ast.Call) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return bool(given) and not _is_none(given[0])


def _is_drawn(source: Source, call: ast.Call) -> bool:
    """Say whether a seed is itself drawn, or read from the clock."""
    inner = (node for part in [*call.args, *call.keywords] for node in ast.walk(part))
    names = (source.name(node.func) for node in inner if isinstance(node, ast.Call))
    return any(
        _ENTROPY.fullmatch(name) or name.startswith(("time.", "datetime.")) for name in names
    )


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _constant(call: ast.Call, word: str) -> object:
    """Return what is given by this keyword, None if nothing, or nothing constant."""
    values = (keyword.value for keyword in call.keywords if keyword.arg == word)
    return next((value.value for value in values if isinstance(value, ast.Constant)), None)
