"""Exclude: the days on which a schedule has no ticks, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import lru_cache

from nexus.api.codes import Code
from nexus.api.schedule import Exclude, PublicHolidays
from nexus.core.manifest.problem import Path, Problem
from nexus.core.text.similar_names import closest, did_you_mean

Reason = Callable[[date], str | None]
"""Why a day is excluded, None where it is not."""
_WEEKEND = {6: "a Saturday", 7: "a Sunday"}


def reason(exclude: Exclude) -> Reason:
    """Return the days that are excluded; `exclude` has no problems."""
    dates = frozenset(exclude.dates or ())
    regions = tuple(exclude.holidays or ())

    def why(day: date) -> str | None:
        if dates and day.isoformat() in dates:
            return "an excluded date"
        for region in regions:
            name = _of_year(region.country, region.region, day.year).get(day)
            if name is not None:
                return f"{name} ({place_of(region)})"
        return _WEEKEND.get(day.isoweekday()) if exclude.weekends else None

    return why


def problems(path: Path, exclude: Exclude) -> Iterator[Problem]:
    """Yield what is wrong with the exclusions of a schedule."""
    for position, text in enumerate(exclude.dates or ()):
        try:
            date.fromisoformat(text)
        except ValueError:
            yield Problem((*path, "dates", position), Code.INVALID_TIME, f'invalid date "{text}"')
    for position, region in enumerate(exclude.holidays or ()):
        yield from _region((*path, "holidays", position), region)


def place_of(region: PublicHolidays) -> str:
    """DE, or DE-BY."""
    return f"{region.country}-{region.region}" if region.region else region.country


def _region(path: Path, wanted: PublicHolidays) -> Iterator[Problem]:
    from holidays import list_supported_countries
    from holidays.registry import COUNTRIES

    countries = list_supported_countries(include_aliases=True)
    # The registry has for each module its class, then its codes: ("Germany", "DE", "DEU").
    codes = {code: entry[1] for entry in COUNTRIES.values() for code in entry[1:]}
    two = codes.get(wanted.country)
    if two is None or two not in countries:
        names = {entry[0].lower(): entry[1] for entry in COUNTRIES.values()}
        close = closest(wanted.country, countries, most=3, cutoff=0.5)
        named = names.get(wanted.country.lower())
        meant = [named] if named else close
        hint = did_you_mean(meant) if meant else "write its ISO code, as DE"
        yield Problem((*path, "country"), Code.UNKNOWN_HOLIDAYS, f'unknown country "{wanted.country}"; {hint}')
    elif wanted.region is not None and wanted.region not in countries[two]:
        regions = countries[two]
        folded = {region.lower(): region for region in regions}
        text = wanted.region.removeprefix(f"{two}-").lower()
        close = [folded[text]] if text in folded else []
        close += [folded[found] for found in closest(text, folded, cutoff=0.6)]
        known = f"{two} has {', '.join(regions[:20])}" + (f" and {len(regions) - 20} more" if regions[20:] else "")
        hint = did_you_mean(close[:1]) if close else known if regions else f"{two} has no regions, remove it"
        yield Problem(
            (*path, "region"),
            Code.UNKNOWN_HOLIDAYS,
            f'unknown region "{wanted.region}" of {two}; {hint}',
        )


@lru_cache(maxsize=1024)
def _of_year(country: str, region: str | None, year: int) -> Mapping[date, str]:
    """Return the public holidays of a year, with their names in English where the package has them."""
    from holidays import country_holidays

    found = country_holidays(country, subdiv=region, years=year)
    language = "en_US" if "en_US" in found.supported_languages else found.default_language
    return dict(country_holidays(country, subdiv=region, years=year, language=language).items())
