"""Questions on their way to Stripe, each with the events that wait for its answer.

An event that comes upon a question which is being asked joins those that wait for it: it is rung with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from tallystick.events.spec import Question
from tallystick.pipeline.lookups import Lookups


class Asking:
    """One a process. ``ring`` is told the ids of events whose question is answered; it must not block."""

    def __init__(self, lookups: Lookups, ring: Callable[[Sequence[str]], None]) -> None:
        self._lookups = lookups
        self._ring = ring
        self._waiting: dict[Question, set[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, questions: Mapping[Question, Iterable[str]]) -> None:
        """Put questions to Stripe; once one is answered, ring for the events that wait for it."""
        for question, events in questions.items():
            if question in self._waiting:
                self._waiting[question].update(events)
                continue
            self._waiting[question] = set(events)
            task = asyncio.create_task(self._ask(question), name=f"ask {question}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave off: what was not answered is asked again by whoever reads its events next."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, question: Question) -> None:
        answered: set[Question] = set()
        try:
            answered = await self._lookups.answer({question: self._waiting[question]})
        finally:
            events = self._waiting.pop(question)
        if answered:
            self._ring(sorted(events))
