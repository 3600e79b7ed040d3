"""What a column's name says of the values that it may have: kinds, counts, prices, shares, plans.

The names are those of the source, in whatever spelling.
"""

from __future__ import annotations

from warehouse.inference.words import (
    FLAGS,
    HAPPENED,
    LATER,
    NEVER,
    identifying,
    is_label,
    is_money,
    says,
    singular,
    words,
)

# Of texts whose values somebody has listed once: a new one is news.
KINDS = frozenset(
    {
        *("status", "state", "type", "kind", "gender", "sex", "currency", "priority", "severity"),
        *("level", "class", "category", "method", "mode", "channel", "stage", "tier", "segment"),
        *("weekday", "direction", "outcome", "phase", "typ", "klasse", "kategorie", "geschlecht"),
        *("währung", "waehrung", "zahlungsart", "versandart", "priorität", "wochentag", "statut"),
        *("estado", "tipo", "categoria", "categoría", "moneda", "devise", "género", "sexo"),
        *("prioridad", "prioridade"),
    }
)
# Texts of yes and no that are no booleans to the loader.
YES_NO = (
    frozenset({"ja", "nein"}),
    frozenset({"j", "n"}),
    frozenset({"oui", "non"}),
    frozenset({"si", "no"}),
    frozenset({"sí", "no"}),
    frozenset({"да", "нет"}),
    frozenset({"on", "off"}),
)
KIND_ENDINGS = ("status", "kategorie", "klasse")
# A column is of the kind that its last word names, but `type of payment` of a type.
PREPOSITIONS = frozenset({"of", "de", "du", "des", "d", "del", "di", "der", "da", "do"})
# Beside these, a state is one of a country's, and more of them will come.
PLACES = frozenset(
    {
        *("city", "town", "zip", "zipcode", "postal", "postcode", "country", "county", "address"),
        *("street", "lat", "latitude", "region", "province", "airport", "park", "fips"),
    }
)
QUANTITIES = frozenset(
    {
        *("qty", "quantity", "quantities", "units", "pieces", "menge", "anzahl", "stück", "stueck"),
        *("cantidad", "quantité", "quantite", "количество", "数量"),
    }
)
# Of numbers that count or measure what cannot be less than nothing.
COUNTS = QUANTITIES | frozenset(
    {
        *("count", "counts", "cnt", "pcs", "stk", "passengers", "population", "households"),
        *("views", "clicks", "impressions", "visits"),
        *("visitors", "seats", "rooms", "beds", "bedrooms", "bathrooms", "deaths", "births"),
        *("employees", "volume", "likes", "votes", "retries", "attempts"),
        *("hits", "runs", "goals", "wins", "losses", "attendance", "stops", "hours", "windspeed"),
        *("age", "alter", "distance", "duration", "dauer", "length", "width", "height", "weight"),
        *("gewicht", "area", "minutes", "seconds", "km", "miles", "mileage", "kg", "bytes", "kb"),
        *("mb", "gb", "latency", "ms", "speed", "rainfall", "precipitation", "horsepower"),
        *("capacity", "stars", "rating", "tenure"),
    }
)
PRICES = frozenset(
    {
        *("price", "prices", "cost", "costs", "fee", "fees", "fare", "salary", "wage", "wages"),
        *("rent", "msrp", "prix", "precio", "gehalt", "lohn", "miete", "цена", "価格"),
    }
)
PRICE_ENDINGS = ("preis", "kosten", "gebühr")
# Of numbers that may well be below zero: at another place or season, or from one time to the next.
SIGNED = frozenset(
    {
        *("lat", "latitude", "lon", "lng", "long", "longitude", "breitengrad", "laengengrad"),
        *("längengrad", "temp", "temperature", "temperatur", "tmin", "tmax", "tavg", "dewpoint"),
        *("celsius", "fahrenheit", "altitude", "elevation", "balance", "saldo", "solde", "profit"),
        *("margin", "change", "chg", "delta", "diff", "difference", "offset", "delay", "growth"),
        *("variance", "deviation", "adjustment", "adj", "correction", "refund", "credit", "gain"),
        *("return", "returns", "yield", "income", "log", "ln", "net", "discount", "rabatt", "yoy"),
        *("mom", "std", "score", "excess", "error", "residual", "trend", "remaining", "left"),
        *("available", "stock", "inventory", "corrected", "scaled", "normalized", "centered"),
    }
)
# Of which no percent is more than all, nor below nothing.
DISCOUNTS = frozenset({"discount", "rabatt"})
LATITUDES = frozenset({"lat", "latitude", "breitengrad"})
LONGITUDES = frozenset({"lon", "lng", "longitude", "laengengrad", "längengrad"})
PERCENTS = frozenset({"percent", "pct", "percentage", "prozent", "pourcentage", "porcentaje"})
SHARES = frozenset({"share", "fraction", "proportion", "probability", "prob", "anteil"})
RATIOS = frozenset({"ratio", "ratios", "verhältnis"})
PER = frozenset({"per", "pro", "par", "por"})
RATES = frozenset({"rate", "rates", "quote"})
# Of what a rate is a part of a whole, as that of conversions; a heart's or a currency's is none.
PARTS = frozenset(
    {
        *("conversion", "fill", "hit", "churn", "click", "clickthrough", "occupancy", "bounce"),
        *("utilization", "utilisation", "completion", "success", "failure", "response", "open"),
        *(
            "retention",
            "approval",
            "rejection",
            "acceptance",
            "attendance",
            "cancellation",
            "scrap",
        ),
        *("vacancy", "participation", "turnout", "win", "defect", "availability"),
        *("auslastung", "ausschuss", "storno"),
    }
)
# What is a percent or a share without being called one.
SATURATIONS = frozenset(
    {
        *("humidity", "moisture", "cloudiness", "cloudcover", "luftfeuchtigkeit", "luftfeuchte"),
        *("feuchtigkeit", "feuchte", "bodenfeuchte", "humedad", "humidité", "umidità", "umidade"),
    }
)
# Which are a mass, and have no end.
MASSES = frozenset({"absolute", "absolut", "specific"})
# Of directions, in degrees.
DIRECTIONS = frozenset(
    {
        *("direction", "dir", "bearing", "heading", "azimuth", "winddirection", "windrichtung"),
        *("deg", "cog", "hue"),
    }
)
# A direction is in degrees where more than half a turn was seen; else it may be a code.
HALF_TURN, TURN = 180, 360
# Times that are set before they come.
PLANNED = (
    LATER
    | NEVER
    | {
        *("limit", "deadline", "target", "forecast", "plan", "ending", "close", "departure"),
        *("appointment", "reservation", "checkin", "holiday", "renewal", "maturity", "effective"),
        *("begin", "begins", "from", "von", "bis", "starts", "ends", "eta", "etd", "termin"),
        *("frist", "booking", "schedule", "start", "startdatum", "enddatum", "plandatum"),
    }
)
# Of times, that something was done then, even if what was done is a plan.
MADE = frozenset(
    {
        *("created", "made", "booked", "ordered", "signed", "sold", "purchased", "subscribed"),
        *("registered", "reserved", "submitted", "requested", "placed", "posted", "entered"),
        *("added", "inserted", "logged", "recorded", "reported", "sent", "started", "opened"),
        *("published", "transacted", "occurred", "happened", "observed", "measured", "visited"),
        *("bestelldatum", "erstellt", "angelegt", "gebucht"),
    }
)
PLANNED_BEGINNINGS = ("liefer", "fällig", "faellig", "ablauf", "soll")
# Tables that say what will be.
PLANS = frozenset(
    {
        *("calendar", "schedule", "schedules", "plan", "plans", "forecast", "forecasts", "budget"),
        *("budgets", "roster", "rosters", "appointment", "appointments", "reservation", "rota"),
        *("reservations", "booking", "bookings", "holiday", "holidays", "timetable", "fixture"),
        *("fixtures", "shift", "shifts", "target", "targets", "contract", "contracts"),
        *("subscription", "subscriptions", "kalender", "schichten", "termine", "feiertage"),
    }
)
# Tables that say what will be, or what has happened: their times tell.
PERHAPS_PLANS = frozenset({"event", "events"})
CODES = frozenset({"code", "cd"})
NAMES = (["name"], ["title"])


def is_kind(name: str) -> bool:
    """Whether the values are of a list that somebody made, such as `order_status`' are."""
    head = _head(name)
    return head in KINDS or head.endswith(KIND_ENDINGS)


def is_yes_or_no(values: tuple[str, ...]) -> bool:
    """Whether these are all the answers that there are."""
    return {value.strip().lower() for value in values} in YES_NO


def is_state(name: str) -> bool:
    """Whether the values may be states of a country as well as of a thing."""
    return _head(name) == "state"


def is_flag(name: str) -> bool:
    """Whether the name is that of a yes or no."""
    return says(name, FLAGS)


def is_place(name: str) -> bool:
    """Whether the name is that of a place, or of a part of an address."""
    return says(name, PLACES)


def is_amount(name: str) -> bool:
    """Whether numbers of that name are counts, sizes or money: none is below zero by its nature."""
    return is_count_or_price(name) or (is_money(name) and _is_unsigned(name))


def is_count_or_price(name: str) -> bool:
    """The same of counts, sizes and prices alone, which no refund takes below zero."""
    parts = words(name)
    is_price = says(name, PRICES) or any(part.endswith(PRICE_ENDINGS) for part in parts)
    counts = says(name, COUNTS) or parts[:2] in (["number", "of"], ["num", "of"])
    return (counts or is_price) and _is_unsigned(name)


def tells_refunds(name: str) -> bool:
    """Whether money of that name is below zero when it is given back, not as a balance is."""
    return is_money(name) and not says(name, SIGNED - {"net"})


def bounds(name: str, least: float, most: float) -> tuple[int, int] | None:
    """Between what numbers of that name lie by definition: degrees, percents and shares.

    None where their own `least` or `most` lies beyond. They tell a share of 1 from one of 100.
    """
    scales = _scales(name, least, most)
    return next(((low, high) for low, high in scales if low <= least and most <= high), None)


def _scales(name: str, least: float, most: float) -> list[tuple[int, int]]:
    """What numbers of that name may be bounded by, the narrower first."""
    head = _head(name)
    if head in LATITUDES:
        return [(-90, 90)]
    if head in LONGITUDES:
        return [(-180, 180)]
    if says(name, PERCENTS) or "%" in name:
        return [(0, 100)] if _is_unsigned(name, SIGNED - DISCOUNTS) else []
    if not _is_unsigned(name):
        return []
    if says(name, SATURATIONS) and not says(name, MASSES):
        return [(0, 1), (0, 100)]
    if head in SHARES and not says(name, PER):  # a bare `share` may be one of a company
        return [(0, 1), (0, 100)] if len(words(name)) > 1 else [(0, 1)]
    if head in RATES and says(name, PARTS):
        return [(0, 1), (0, 100)]
    if says(name, DIRECTIONS) and most - least > HALF_TURN:
        return [(-HALF_TURN, HALF_TURN), (0, TURN)]
    return []


def is_ratio(name: str) -> bool:
    """Whether numbers of that name are a ratio, which may be of a part to the whole."""
    return _head(name) in RATIOS and _is_unsigned(name)


def is_always_given(name: str, table: str) -> bool:
    """Whether a row without a value would be odd: an identifier, a name, a kind, money, a quantity.

    `table` is the dataset's name, such as `orders`.
    """
    is_id = identifying(name, table) > 1 or words(name) in NAMES
    is_sum = (is_money(name) or says(name, QUANTITIES)) and _is_unsigned(name)
    return is_id or is_kind(name) or is_sum


def has_happened(name: str) -> bool:
    """Whether times of that name are of something that has happened, such as an order's."""
    return says(name, HAPPENED) and not is_planned(name, "")


def is_planned(name: str, table: str, *, is_event: bool = False) -> bool:
    """Whether times of that name, or of such a table, may well be ahead.

    A plan is made at a time of its own: of a table of bookings, `checkin` and `date` may be ahead,
    but not `booked_at`, nor what its source declares as the time of the event (`is_event`).
    """
    # What the table is called by says no more of its column than of the table.
    own = {singular(word) for word in words(table) if word in PLANS}
    parts = [word for word in words(name) if singular(word) not in own]
    is_german = any(word.startswith(PLANNED_BEGINNINGS) for word in parts)
    if is_german or not PLANNED.isdisjoint(parts):
        return True
    return is_plan(table) and not is_event and not says(name, MADE)


def is_plan(table: str) -> bool:
    """Whether a table of that name is one of what will be."""
    return says(table, PLANS)


def may_be_plan(table: str) -> bool:
    """Whether a table of that name may be one of what will be as well as of what has happened."""
    return says(table, PERHAPS_PLANS)


def _is_unsigned(name: str, signed: frozenset[str] = SIGNED) -> bool:
    return not (says(name, signed) or identifying(name, "") or is_label(name))


def _head(name: str) -> str:
    """The word that says what the values are; empty where there is none."""
    parts = words(name)
    before = next((n for n, word in enumerate(parts) if word in PREPOSITIONS), len(parts))
    parts = parts[:before] or parts
    while len(parts) > 1 and parts[-1] in CODES:
        parts.pop()
    return parts[-1] if parts else ""
