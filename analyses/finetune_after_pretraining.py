"""Question  Do rank and probe of pre-trained features say who is best after fine-tuning?
Method    V1, V2 and a ViT, pre-trained (FCMAE, MAE: 1,500 steps) and then classifying for 1,500 steps more, against the
          same networks that classify from scratch for as long; one recipe, so only the start differs. Top-1 on the test
          images beside rank and probe of the pre-trained features. Without the published strengths of augmentation,
          layer decay or averaging, so it is no state of the art.
Cost      The pool's V1 and V2, and 21 runs more of about 6 CPU minutes, of which other analyses have six as well.
Result    Not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

import collapse_lab as cl
from analyses.command import Asked, command
from analyses.page import Section, write_page
from analyses.pool import BLOCKS, SUPERVISED, V1, V2, Changes, by_family, carry_out, study_of, vit, with_objective
from analyses.readings import by_arm, last_logged, record_of, seed_values, values_of
from analyses.words import PROBE, named_best, told_values

NAME = "finetune_after_pretraining"
TITLE = "Fine-tuning after pre-training"
RANK = "effective_rank"
SCRATCH = {"V1 FCMAE": "V1 supervised", "V2 FCMAE": "V2 supervised", "ViT MAE": "ViT supervised"}
"""Pre-trained arm -> its network from scratch."""


# %% Arms of the two rounds
def pretraining(asked: Asked) -> dict[str, Changes]:
    arms = {"V1 FCMAE": V1, "V2 FCMAE": V2, "ViT MAE": vit(asked)}
    return {arm: arms[arm] for arm in ("V1 FCMAE", "ViT MAE")} if asked.quick else arms


def classifying(asked: Asked, starts: Mapping[str, Path]) -> dict[str, Changes]:
    """Of one seed: every network from its pre-trained weights, and from scratch."""
    arms: dict[str, Changes] = {}
    for arm, changes in pretraining(asked).items():
        scratch = with_objective(changes, SUPERVISED)
        arms |= {arm: {**scratch, "init_from": str(starts[arm])}, SCRATCH[arm]: scratch}
    return arms


def carried_out(asked: Asked, arms: Mapping[str, Changes], seeds: Sequence[int]) -> list[cl.Comparison]:
    """One comparison a family of networks."""
    return [
        carry_out(study_of(asked, title=TITLE, baseline=next(iter(own)), arms=own, sites=BLOCKS, seeds=seeds), asked)
        for own in by_family(arms)
    ]


# %% What the values answer
def answer_of(values: pd.DataFrame) -> str:
    """Whether a measure before names the best after; each network against its own from scratch, and V2 against V1."""
    named = "; ".join(
        named_best(values[values.arm.isin(SCRATCH)], f"{metric} before", "top1") for metric in (RANK, PROBE)
    )
    return f"{named}. {told_values(values, [*SCRATCH.items(), ('V2 FCMAE', 'V1 FCMAE')])}"


# %% Pre-train, then fine-tune seed by seed, as each seed starts from its own run; write the page
if __name__ == "__main__":
    with command(NAME, __doc__) as asked:
        before = carried_out(asked, pretraining(asked), asked.seeds)
        starts = {
            arm: {record_of(run)["seed"]: run for run in own} for each in before for arm, own in each.folders.items()
        }
        runs: dict[str, list[Path]] = {}
        for seed in asked.seeds:
            for each in carried_out(asked, classifying(asked, {arm: own[seed] for arm, own in starts.items()}), [seed]):
                for arm, own in each.folders.items():
                    runs.setdefault(arm, []).extend(own)
        known = pd.concat([seed_values(each, [RANK, PROBE]) for each in before])
        top1 = values_of(runs, {"top1": lambda run: last_logged(run, "test_top1")})
        values = pd.concat([top1, known.assign(metric=known.metric + " before")])
        note = "Mean ± standard deviation over seeds (their number); before: of the pre-trained features."
        sections = [Section(heading="After fine-tuning", note=note, table=by_arm(values))]
        everything = {**{f"{arm}, before": list(own.values()) for arm, own in starts.items()}, **runs}
        write_page(asked, values, everything, title=TITLE, answer=answer_of(values), sections=sections)
