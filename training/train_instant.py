"""Train the network that paints after any picture in one pass, at any style weight.

Photographs and style pictures are cut, turned and recoloured at random; what is minimised is what
the painter minimises by default, at a style weight that is drawn from two decades and told to the
network. Every tenth photograph and painting is held out. A run lasts as long as it is told to, on a
graphics card or a processor; another goes on from where it was.

    python training/train_instant.py train --photos P --paintings Q --run R --minutes 600
    python training/train_instant.py show --photos P --paintings Q --run R
    python training/train_instant.py calibrate --photos P --paintings Q --run R --pairs ...
    python training/train_instant.py pack --photos P --paintings Q --run R
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from instant_data import Batch, Data, move, share_of  # isort: skip
from instant_judge import Judge  # isort: skip

from impasto.instant.model_file import save_net
from impasto.instant.net import CODE_LAYERS, DECADES, NET_SHAPES, DialReader, PaintingNet, code_size
from impasto.instant.training_losses import (
    CONTENT_LAYER,
    LEAST_TOTAL,
    STYLE_LAYERS,
    StyleTarget,
    make_targets,
    measure_lattice,
    measure_total,
)
from impasto.networks.weights import load_backbone
from impasto.system.devices import Machine, has_fast_bfloat16
from impasto.system.memory import keeping_memory

BROAD = 0.5  # what the loss at half the size counts
STEADY, LATTICE = 1.5, 3.0
# Of the time, from when to when these two come in: at first they would keep strokes from beginning.
CALM, CAREFUL = 0.35, 0.7
# Of the rate is that of the style reader's matrices: hundreds of their weights pull one way, so
# that its numbers would change by a hundred times as much in a step as others do, and run away.
READER = 0.1
NOISE = 4 / 255  # deviation that hardly shows
CLIP = 3.0  # the longest gradient
WARM, COOL = 0.02, 0.35  # of the time: the rate rises until then; it falls from then on
AVERAGE = 0.999
MOST_BEND = 0.48  # of a dial, which would go back with more than a half
FEWEST = 40  # steps that are told of together
ASTRAY = 0.2  # that the logarithm of the total may grow by, before it is gone back
SAVE_SECONDS, JUDGE_SECONDS, TELL_SECONDS = 60.0, 150.0, 15.0
DATA = Path(__file__).parent.parent / "src" / "impasto" / "data"


@dataclass(frozen=True)
class Kind:
    """A kind of step: the side of its squares, and the periods of lattices it looks for."""

    side: int
    count: int
    periods: tuple[int, ...]

    @property
    def moved(self) -> int:
        return max(1, self.count // 4)

    @property
    def normal_numbers(self) -> int:
        """How many are drawn: of grain, and of noise in what is moved."""
        return self.side**2 * (self.count + 3 * self.moved)


def list_kinds(side: int, count: int) -> list[Kind]:
    """Return the kinds that take turns: the last sees squares half as large again."""
    large = max(2, round(count * 4 / 9))
    return [
        Kind(side, count, (3, 6)),
        Kind(side, count, (4, 7)),
        Kind(side * 3 // 2, large, (5, 8)),
    ]


@dataclass(frozen=True)
class Goal:
    """What paintings of one size are compared with."""

    targets: dict[str, StyleTarget]
    content: Tensor


@dataclass(frozen=True)
class Lesson:
    """All that a step needs, measured before: nothing of it is differentiated."""

    batch: Batch
    codes: Tensor
    goal: Goal
    half: Goal


class Trainer:
    def __init__(self, data: Data, options: argparse.Namespace) -> None:
        self.data, self.options, self.run = data, options, options.run
        self.device = data.device
        self.short = has_fast_bfloat16(self.device)
        precision = torch.bfloat16 if self.short else torch.float32
        machine = Machine(self.device, precision, "channels_last")
        self.backbone = load_backbone("compact").place(machine)
        torch.manual_seed(0)
        self.net = PaintingNet(NET_SHAPES["any"])
        self.reader = DialReader(code_size(self.backbone), self.net.count)
        self.both = nn.ModuleDict({"net": self.net, "reader": self.reader}).to(self.device)
        self.both.to(memory_format=torch.channels_last)
        self.learnt = [each for each in self.both.parameters() if each.requires_grad]
        for each in self.learnt:
            each.grad = torch.zeros_like(each)
        self.average = [each.detach().clone() for each in self.learnt]
        matrices = [each for each in self.reader.parameters() if each.ndim > 1]
        slow = {id(each) for each in matrices}
        groups = [
            {"params": [each for each in self.learnt if id(each) not in slow], "times": 1.0},
            {"params": matrices, "times": READER},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.step, self.skipped = 0, torch.zeros((), device=self.device)
        self.spent, self.scale = 0.0, 1.0  # seconds learnt for; of the rate, what is left
        self.care = torch.ones((), device=self.device)
        self.kinds = list_kinds(options.side, options.batch)
        self.data.dice.make_room(max(each.normal_numbers for each in self.kinds))
        self.works: dict[Kind, Callable[[int], dict[str, Tensor]]] = {}
        self.run.mkdir(parents=True, exist_ok=True)
        if not self.resume():
            self.learn_units()

    # --- where it was ---------------------------------------------------------------------------

    def resume(self) -> bool:
        """Go on from the checkpoint of this run, or of another that is named."""
        places = [self.run, *([self.options.start] if self.options.start else [])]
        place = next((each for each in places if (each / "weights.pt").exists()), None)
        if place is None:
            return False
        state = torch.load(place / "weights.pt", map_location=self.device, weights_only=True)
        self.both.load_state_dict(state["both"])
        for mine, kept in zip(self.average, state["average"], strict=True):
            mine.copy_(kept)
        self.step, self.scale = state["step"], state["scale"]
        self.spent = state["spent"] if place == self.run else 0.0  # another's schedule is over
        if (place / "adam.pt").exists():
            saved = torch.load(place / "adam.pt", map_location=self.device, weights_only=True)
            self.optimizer.load_state_dict(saved)
        tell(f"on from step {self.step} of {place}")
        return True

    def save(self) -> None:
        """Write a checkpoint in two files, and the network as it is in the package."""
        state = {
            "both": self.both.state_dict(),
            "average": self.average,
            "step": self.step,
            "spent": self.spent,
            "scale": self.scale,
        }
        for name, what in (("weights.pt", state), ("adam.pt", self.optimizer.state_dict())):
            beside = self.run / f"{name}.part"
            torch.save(what, beside)
            beside.replace(self.run / name)
        self.pack(self.run / "instant.safetensors")

    def averaged(self) -> nn.ModuleDict:
        """Return a copy with the averaged weights."""
        both = copy.deepcopy(self.both)
        learnt = [each for each in both.parameters() if each.requires_grad]
        with torch.no_grad():
            for mine, mean in zip(learnt, self.average, strict=True):
                mine.copy_(mean)
        return both.requires_grad_(False).eval()

    def pack(self, path: Path) -> None:
        both = self.averaged().cpu()
        about = {"steps": self.step, "licence": "Apache-2.0"}
        save_net(path, both["net"], reader=both["reader"], about=about, dtype=torch.float16)

    # --- a step ---------------------------------------------------------------------------------

    @torch.no_grad()
    def learn_units(self) -> None:
        """Codes are read in units of those of many styles."""
        codes = [self.prepare(self.kinds[0], -1 - i).codes for i in range(self.options.units)]
        every = torch.cat(codes)
        self.reader.mean.copy_(every.mean(0))
        # What hardly ever differs is not to be looked at too closely.
        self.reader.deviation.copy_(every.std(0).clamp_min(0.1 * float(every.std(0).mean())))

    def prepare(self, kind: Kind, step: int) -> Lesson:
        """Draw a batch from the step alone, and measure what it is to be compared with."""
        self.data.dice.throw(step % 2**40)
        return self.compose(kind)

    @torch.no_grad()
    def compose(self, kind: Kind) -> Lesson:
        """Draw a batch by the dice, and measure styles and photographs at both sizes."""
        batch = self.data.draw(kind.side, kind.count, kind.moved, DECADES)
        goals = []
        for size in (1, 2):
            photos, styles = (shrink(each, size) for each in (batch.photos, batch.styles))
            targets = make_targets(self.backbone(styles, STYLE_LAYERS))
            content = self.backbone(photos, [CONTENT_LAYER])[CONTENT_LAYER]
            goals.append(Goal(targets, content))
        parts = [(goals[0].targets[n].mean, goals[0].targets[n].deviation) for n in CODE_LAYERS]
        codes = torch.cat([each for part in parts for each in part], 1)
        return Lesson(batch, codes, *goals)

    def measure(self, kind: Kind, lesson: Lesson) -> dict[str, Tensor]:
        """Return the loss, to be differentiated, and its parts."""
        batch, moved = lesson.batch, kind.moved
        numbers = self.reader(lesson.codes, batch.weights)
        with self.in_short():
            painted, found = self.net.measure(batch.photos, numbers, batch.grain)
            held = [(mean[:moved], inverse[:moved]) for mean, inverse in found]
            pixels, grain = batch.shaken[:, :3], batch.shaken[:, 3:]
            # The reader is not to learn steadiness: its numbers would grow and grow.
            again = self.net(pixels, numbers[:moved].detach(), grain, held)
        painted, again = painted.float(), again.float()
        weights = batch.weights
        goal, half = lesson.goal, lesson.half
        total, style, content = measure_total(
            self.backbone, painted, goal.targets, goal.content, weights
        )
        broad, *_ = measure_total(
            self.backbone, shrink(painted, 2), half.targets, half.content, weights
        )
        both = (total + BROAD * broad) / (1 + BROAD)
        away = (again - move(painted[:moved], batch.grid)).square() * batch.inside
        away = away.sum((1, 2, 3)) / (3 * batch.inside.sum((1, 2, 3))).clamp_min(1)
        # Not its logarithm, nor in shares of strokes: to paint nothing, or a tint, would be best.
        unrest = ((away + NOISE**2).sqrt() - NOISE).mean()
        lattice = torch.stack([measure_lattice(painted[:moved], p).mean() for p in kind.periods])
        care = self.care * (STEADY * unrest + LATTICE * lattice.mean())
        loss = (both + LEAST_TOTAL).log().mean() + care
        return {
            "loss": loss,
            "fit": (both + LEAST_TOTAL).log().mean(),
            "total": total.mean(),
            "broad": broad.mean(),
            "style": style.mean(),
            "content": content.mean(),
            "moved": away.mean().sqrt() * 255,
            "lattice": lattice.mean(),
            "numbers": numbers.square().mean().sqrt(),
        }

    def in_short(self) -> torch.autocast:
        # Without its cache: what is kept there does not outlive a recorded step.
        kind = self.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.short, cache_enabled=False)

    def differentiate(self, kind: Kind, lesson: Lesson) -> dict[str, Tensor]:
        """Put gradients into place; return all parts, and the gradients' length."""
        grads = [each.grad for each in self.learnt]
        torch._foreach_zero_(grads)
        parts = self.measure(kind, lesson)
        parts["loss"].backward()
        norm = torch.stack(torch._foreach_norm(grads)).norm()
        return {**{name: part.detach() for name, part in parts.items()}, "norm": norm}

    def change(self, parts: dict[str, Tensor], rate: float) -> None:
        """Do one step of Adam, unless a gradient is no number."""
        norm = parts["norm"]
        wrong = (~norm.isfinite()).float()
        self.optimizer.found_inf = wrong
        self.optimizer.grad_scale = (norm / CLIP).clamp_min(1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        self.optimizer.step()
        self.skipped += wrong
        self.step += 1
        keep = min(AVERAGE, self.step / (self.step + 50))
        torch._foreach_lerp_(self.average, [each.detach() for each in self.learnt], 1 - keep)

    def learn(self, kind: Kind, step: int) -> dict[str, Tensor]:
        return self.differentiate(kind, self.prepare(kind, step))

    def work(self, kind: Kind) -> Callable[[int], dict[str, Tensor]]:
        """Return what draws a batch and differentiates: recorded, on a graphics card, if can be."""
        if kind not in self.works:
            self.works[kind] = lambda step: self.learn(kind, step)
            if self.device.type == "cuda" and self.options.record:
                for whole in (True, False):
                    began = time.perf_counter()
                    try:
                        recorded = Recorded(self, kind, whole=whole)
                        self.works[kind] = recorded
                        spent = time.perf_counter() - began
                        tell(f"recorded {kind}: {recorded.said}, {spent:.1f} s")
                        break
                    except Exception as error:  # whatever torch raises: it goes on without
                        tell(f"not recorded {kind}: {type(error).__name__}: {str(error)[:300]}")
                        torch.cuda.synchronize()
        return self.works[kind]

    # --- the run --------------------------------------------------------------------------------

    def train(self, judge: Judge | None) -> None:
        """Learn until the time is over."""
        options = self.options
        for kind in self.kinds:
            self.work(kind)
        watch, before = Watch(self), self.spent
        start = read_clock(self.device)
        end = start + max(60 * options.minutes - options.reserve - before, 1)
        sums: dict[str, Tensor] = {}
        shown, saved, judged, told = self.step, start, start, start
        first = self.step
        while (now := read_clock(self.device)) < end and self.step - first < options.steps:
            self.spent = before + now - start
            share = self.spent / (before + end - start)
            kind = self.kinds[self.step % len(self.kinds)]
            self.care.fill_(min(1.0, max(0.0, (share - CALM) / (CAREFUL - CALM))))
            parts = self.work(kind)(self.step)
            for name, part in parts.items():
                sums[name] = sums[name] + part if name in sums else part.clone()
            rate = options.rate * min(1.0, (share + 1e-3) / WARM)
            rate *= 0.02 + 0.98 * (1 - share_of((share - COOL) / (1 - COOL)))
            self.change(parts, rate * self.scale)
            if self.step % 8 == 0:
                self.wait()  # else work for minutes would wait for the device
            count = self.step - shown
            if now - told > TELL_SECONDS and count >= FEWEST:
                means = {name: round(float(total) / count, 5) for name, total in sums.items()}
                spent = 1e3 * (now - told) / count
                self.note({"step": self.step, "share": round(share, 3), "rate": rate, **means,
                           "ms": round(spent, 2), "skipped": int(self.skipped)})  # fmt: skip
                if watch.is_astray(means["fit"]):
                    watch.go_back()
                    self.scale *= 0.5
                    self.note({"step": self.step, "went back": watch.best, "scale": self.scale})
                sums, shown, told = {}, self.step, now
            if judge is not None and now - judged > JUDGE_SECONDS:
                self.look(judge)
                judged = told = read_clock(self.device)
                sums, shown = {}, self.step
            if now - saved > SAVE_SECONDS:
                self.save()
                saved = read_clock(self.device)
        self.wait()
        tell(f"{self.step - first} steps in {read_clock(self.device) - start:.1f} s")
        self.save()
        if judge is not None:
            self.look(judge)
            self.show(judge)
        tell("done")

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def note(self, facts: dict[str, Any]) -> None:
        tell(json.dumps(facts))
        with (self.run / "log.jsonl").open("a") as file:
            file.write(json.dumps(facts) + "\n")

    def look(self, judge: Judge) -> None:
        """Note the two distances of held-out pairs, beside those of the painter's default."""
        both = self.averaged()
        with going_on(), steady_kernels():
            self.note({"step": self.step, **judge.compare(both["net"], both["reader"])})

    def show(self, judge: Judge) -> None:
        """Paint held-out photographs after held-out styles, at three weights."""
        both = self.averaged()
        with going_on(), steady_kernels():
            for weight in (5.0, 15.0, 45.0):
                judge.show(both["net"], both["reader"], weight, self.run / f"w{weight:g}.jpg")

    def calibrate(self, judge: Judge) -> None:
        """Find the reader's bend by which paintings keep what the painter's default keeps."""
        both = self.averaged()
        least, most = 0.0, MOST_BEND
        for _ in range(6):
            bend = (least + most) / 2
            both["reader"].bend.fill_(bend)
            content = judge.compare_content(both["net"], both["reader"])
            tell(f"bend {bend:.3f}: content {content:.3f} of the default's, in the median")
            least, most = (bend, most) if content > 1 else (least, bend)
        self.reader.bend.fill_(bend)
        self.save()

    def try_out(self, seconds: float) -> None:
        """Tell how long each part of a step takes."""
        for kind in self.kinds:
            work = self.work(kind)
            parts = dict(work(0))
            tell(f"{kind}: " + ", ".join(f"{n} {float(p):.4f}" for n, p in parts.items()))
            lesson = self.prepare(kind, 0)
            for name, do in (
                ("prepare", lambda kind=kind: self.prepare(kind, 0)),
                ("differentiate", lambda kind=kind, les=lesson: self.differentiate(kind, les)),
                ("as it is done", lambda work=work: work(0)),
                ("change", lambda parts=parts: self.change(parts, 0.0)),
            ):
                tell(f"   {name}: {self.time(do, seconds / 12):.2f} ms")
        if self.device.type == "cuda":
            tell(f"memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at the most")

    def time(self, do: Callable[[], Any], seconds: float) -> float:
        do()
        self.wait()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds or count < 2:
            do()
            count += 1
            if count % 8 == 0:
                self.wait()
        self.wait()
        return 1e3 * (time.perf_counter() - began) / count


class Watch:
    """Keeps what learning goes back to where it has gone astray."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.best = trainer, float("inf")
        self.kept: list[Tensor] = []

    def is_astray(self, fit: float) -> bool:
        """Return whether paintings have become worse for good; keep what is as good as ever."""
        if self.kept and not fit < self.best + ASTRAY:  # no number is astray, too
            return True
        if fit < self.best + ASTRAY / 4:
            self.kept = [each.detach().clone() for each in self.list_state()]
        self.best = min(self.best, fit)
        return False

    @torch.no_grad()
    def go_back(self) -> None:
        torch._foreach_copy_([each.detach() for each in self.list_state()], self.kept)

    def list_state(self) -> list[Tensor]:
        trainer = self.trainer
        found = [*trainer.learnt, *trainer.average]
        for each in trainer.learnt:
            found += [part for _, part in sorted(trainer.optimizer.state[each].items())]
        return found


class Recorded:
    """A step that was recorded on a graphics card, and is played again on other numbers.

    The ``whole`` of it is drawing the batch, too, or else only what is differentiated.
    """

    def __init__(self, trainer: Trainer, kind: Kind, *, whole: bool) -> None:
        self.trainer, self.kind, self.whole = trainer, kind, whole
        self.lesson = trainer.prepare(kind, 0)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.do()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        by_itself = trainer.time(lambda: trainer.learn(kind, 0), 0.5)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.parts = self.do()
        for step in (1, 2):
            wanted = self.tell_apart(trainer.learn(kind, step))
            found = self.tell_apart(self(step))
            if any(abs(a - b) > 0.1 * abs(b) + 1e-2 for a, b in zip(found, wanted, strict=True)):
                raise RuntimeError(f"played, it gives {found} and not {wanted}")
        played = trainer.time(lambda: self(0), 0.5)
        part = "all of it" if whole else "without the drawing"
        self.said = f"{part}, {played:.1f} ms, and {by_itself:.1f} ms by itself"
        if played > by_itself:
            raise RuntimeError(f"{self.said}: not faster")

    def do(self) -> dict[str, Tensor]:
        lesson = self.trainer.compose(self.kind) if self.whole else self.lesson
        return self.trainer.differentiate(self.kind, lesson)

    @staticmethod
    def tell_apart(parts: dict[str, Tensor]) -> list[float]:
        return [float(parts[name]) for name in ("loss", "norm", "style", "content")]

    def __call__(self, step: int) -> dict[str, Tensor]:
        if self.whole:
            self.trainer.data.dice.throw(step % 2**40)
        else:
            lesson = self.trainer.prepare(self.kind, step)
            with torch.no_grad():
                torch._foreach_copy_(list_tensors(self.lesson), list_tensors(lesson))
        self.graph.replay()
        return self.parts


def list_tensors(what: Any) -> list[Tensor]:
    """Return all tensors inside, always in the same order."""
    if isinstance(what, Tensor):
        return [what]
    if is_dataclass(what):
        return [each for f in fields(what) for each in list_tensors(getattr(what, f.name))]
    assert isinstance(what, dict)
    return [each for part in what.values() for each in list_tensors(part)]


def shrink(pictures: Tensor, times: int) -> Tensor:
    return functional.avg_pool2d(pictures, times) if times > 1 else pictures


@contextmanager
def steady_kernels():
    """Not to search for the fastest kernel, for sizes that are seen once."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def going_on():
    """Not to end for what is only looked at."""
    try:
        yield
    except Exception:  # whatever it is: it is told, and learning goes on
        tell(traceback.format_exc())


def read_clock(device: torch.device) -> float:
    """Return seconds: on a processor its own, which other programs do not use up."""
    return time.perf_counter() if device.type == "cuda" else time.process_time()


def tell(line: str) -> None:
    print(f"[{time.perf_counter() - BEGAN:6.1f}] {line}", flush=True)


BEGAN = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("train", "dry", "show", "calibrate", "pack"))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--drawn", type=Path, help="the project's own styles, drawn before")
    parser.add_argument("--pairs", type=Path, help="held-out pairs, as bench/instant.py made")
    parser.add_argument("--teacher", type=Path, help="the judge's weights")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="a folder whose checkpoint is begun with")
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--reserve", type=float, default=20.0, help="seconds, for begin and end")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--units", type=int, default=16, help="batches that codes are measured on")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-search", dest="search", action="store_false", help="of kernels")
    parser.add_argument("--no-record", dest="record", action="store_false")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True  # exact for what bfloat16 holds
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = options.search
        torch.backends.cudnn.benchmark_limit = 4
        tell(torch.cuda.get_device_name())
    data = Data(options.photos, options.paintings, options.drawn or options.run / "drawn", device)
    tell(f"{len(data.photos)} photographs, {data.painted} paintings")
    trainer = Trainer(data, options)
    tell("ready")
    judge = None
    if options.pairs is not None:
        judge = Judge(options.pairs, options.teacher, trainer.backbone, device)
    with keeping_memory(all_of_it=True):
        if options.what == "train":
            trainer.train(judge)
        elif options.what == "dry":
            trainer.try_out(20.0)
        elif options.what == "pack":
            trainer.pack(DATA / "instant.safetensors")
        else:
            assert judge is not None, f"to {options.what} it needs --pairs"
            trainer.show(judge) if options.what == "show" else trainer.calibrate(judge)


if __name__ == "__main__":
    sys.exit(main())
