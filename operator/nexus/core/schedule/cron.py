"""Cron expressions: five fields read into sets of numbers, and which days and minutes they fit.

The language is that of Kubernetes' CronJob (robfig/cron v3, `ParseStandard`), and beyond it 7 for Sunday, as in
crontab(5). A day fits when both day fields fit; where neither of them is a star (`*`, `?`, `*/1`), when one of them
does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

from nexus.core.text.similar_names import closest, did_you_mean

_MOST_EVERY = 366 * 86_400
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The five fields of each macro; `@every 90m` is not among them."""

Days = Callable[[date], bool]
"""Which days are allowed, whatever the fields say: the schedule's exclusions."""


class CronInvalid(ValueError):
    """An expression that cannot be read; `offset` counts characters from its start."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Every:
    """`@every D`: each whole multiple of `seconds` since 1970-01-01T00:00:00Z, in whatever zone."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Cron:
    """The five fields: sorted numbers, weekdays from 0 for Sunday. `either`: one fitting day field is enough."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    each_hour: bool = False
    """Whether the field of the hour is open (`*`, `?`) or has a step."""

    def on(self, day: date) -> bool:
        """Return whether it has times on a day."""
        return day.month in self.months and self.fits(day)

    def fits(self, day: date) -> bool:
        """Return whether the day of the month and of the week are right, whatever the month."""
        monthly, weekly = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return monthly or weekly if self.either else monthly and weekly

    def at(self, local: datetime) -> bool:
        """Return whether a local minute is one of its times."""
        return local.minute in self.minutes and local.hour in self.hours and self.on(local.date())


@lru_cache(maxsize=8192)
def parse(text: str) -> Cron | Every:
    """Read an expression. Raises CronInvalid, which names the place and what to write."""
    if "TZ=" in text:
        where = text.index("CRON_TZ=" if "CRON_TZ=" in text else "TZ=")
        zone = re.split(r"TZ=", text)[1].split(" ")[0]
        raise CronInvalid(f"unsupported time zone in cron; set timeZone: {zone or 'Europe/Berlin'}", where)
    if text.lstrip().startswith("@"):
        return _macro(text.strip())
    found = [(match.group(), match.start()) for match in re.finditer(r"\S+", text)]
    if len(found) != 5:
        raise CronInvalid(_wrong_count(len(found)))
    minutes, _ = _Field("minute", 0, 59).read(*found[0])
    hours, _ = _Field("hour", 0, 23).read(*found[1])
    days, any_day = _Field("day of the month", 1, 31).read(*found[2])
    months, _ = _Field("month", 1, 12, _MONTHS).read(*found[3])
    weekdays, any_weekday = _Field("day of the week", 0, 6, _WEEKDAYS).read(*found[4])
    return Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(number % 7 for number in weekdays),
        either=not any_day and not any_weekday,
        each_hour=any(sign in found[1][0] for sign in "*?/"),
    )


def _wrong_count(count: int) -> str:
    fields = "minute, hour, day of the month, month, day of the week"
    if count == 6:
        return f"expected 5 cron fields, got 6; the fields are {fields}, without seconds"
    return f"expected 5 cron fields, got {count}; the fields are {fields}, as in 30 2 * * *"


def _macro(text: str) -> Cron | Every:
    name, _, rest = text.partition(" ")
    if name == "@every":
        return Every(_every(rest.strip()))
    if text in MACROS:
        found = parse(MACROS[text])
        assert isinstance(found, Cron)
        return found
    if name == "@reboot":
        raise CronInvalid("unsupported cron macro @reboot; start a run with nexus run")
    known = [*MACROS, "@every"]
    close = closest(name.lower(), known)
    hint = did_you_mean(close) if close else f"macros are {', '.join(known[:-1])} and @every 90m"
    raise CronInvalid(f'unknown cron macro "{text}"; {hint}')


def _every(text: str) -> int:
    offset = len("@every ")
    if not re.fullmatch(r"(\d{1,9}(\.\d{1,3})?[hms])+", text):
        raise CronInvalid(f'invalid duration "{text}"; write hours, minutes and seconds, as in @every 1h30m', offset)
    units = {"h": 3_600, "m": 60, "s": 1}
    seconds = sum(Decimal(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))
    if seconds != int(seconds):
        raise CronInvalid(f"@every {text} must be an integer number of seconds", offset)
    if seconds < 60:
        raise CronInvalid(f"@every {text} is too short; must be at least 60s", offset)
    if seconds > _MOST_EVERY:
        raise CronInvalid(f"@every {text} exceeds the maximum of 366 days (8784h)", offset)
    return int(seconds)


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five: its name, the numbers it may have, and the words for them."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def read(self, text: str, offset: int) -> tuple[set[int], bool]:
        """Return its numbers, and whether it is a star."""
        numbers: set[int] = set()
        star = False
        for part in text.split(","):
            try:
                found, whole = self._part(part)
            except CronInvalid as error:
                raise CronInvalid(f"{self.name} {text}: {error.message}", offset) from None
            numbers.update(found)
            star |= whole
            offset += len(part) + 1
        return numbers, star

    def _part(self, text: str) -> tuple[range, bool]:
        span, slash, step_text = text.partition("/")
        step = self._step(step_text) if slash else 1
        if span in ("*", "?"):
            # As in Kubernetes: */2 does not count as a star, so that with a day of the week either of the two is
            # enough.
            return range(self.low, self.high + 1, step), step == 1
        low_text, hyphen, high_text = span.partition("-")
        low = self._number(low_text)
        high = self._number(high_text) if hyphen else self.high if slash else low
        if low > high:
            raise CronInvalid(f'invalid range "{span}": start exceeds end; write {self._around(low, high)}')
        return range(low, high + 1, step), False

    def _around(self, low: int, high: int) -> str:
        """Two ranges for one that goes over the end."""
        parts = [(low, self.high), (self.low, high)]
        return ",".join(str(start) if start == end else f"{start}-{end}" for start, end in parts)

    def _step(self, text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) == 0:
            raise CronInvalid(f'invalid step "{text}"; must be an integer of at least 1')
        return int(text)

    def _number(self, text: str) -> int:
        lowered = text.lower()
        if lowered in self.words:
            return self.low + self.words.index(lowered)
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            raise CronInvalid(self._no_number(text))
        high = 7 if self.words is _WEEKDAYS else self.high
        if not self.low <= int(text) <= high:
            raise CronInvalid(f"{text} is out of range; must be from {self.low} to {high}")
        return int(text)

    def _no_number(self, text: str) -> str:
        if not text:
            return "missing number"
        close = [word for word in self.words if text.lower().startswith(word)]
        close += closest(text.lower(), self.words)
        if close:
            return f'unknown value "{text}"; {did_you_mean([close[0].upper()])}'
        upper = text.upper()
        if upper in ("L", "W", "H") or "#" in text or re.fullmatch(r"\d+[LW]|L\d*|L?W", upper):
            return f'unsupported cron syntax "{text}" (L, W, # and H are not supported)'
        names = f", or {self.words[0].upper()} to {self.words[-1].upper()}" if self.words else ""
        return f'invalid value "{text}"; must be an integer from {self.low} to {self.high}{names}'
