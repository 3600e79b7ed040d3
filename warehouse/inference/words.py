"""What the names of columns and tables say: identifiers, money, flags, times."""

from __future__ import annotations

import re

MONEY = frozenset(
    {
        *("price", "prices", "amount", "amt", "total", "subtotal", "cost", "costs", "fee", "fees"),
        *("tax", "taxes", "vat", "discount", "disc", "salary", "wage", "income", "revenue"),
        *("sales", "balance", "credit", "debit", "payment", "paid", "charge", "charges", "fare"),
        *("tip", "tips", "budget", "profit", "rent", "refund", "toll", "tolls", "surcharge"),
        *("msrp", "gross", "net", "freight", "turnover", "spend", "deposit", "premium", "bonus"),
        *("betrag", "preis", "saldo", "umsatz", "summe", "brutto", "netto", "kosten", "gebühr"),
        *("montant", "prix", "importe", "precio", "eur", "usd", "gbp", "chf", "money", "cash"),
        *("shipping", "steuer", "mwst", "rabatt", "entgelt", "porto", "solde"),
        *("сумма", "цена", "стоимость", "金額", "価格"),
    }
)
# German writes a thing and its amount as one word, such as Nettobetrag and Einzelpreis.
MONEY_ENDINGS = ("betrag", "beträge", "preis", "summe", "kosten", "umsatz", "gebühr", "saldo")
# Of these, the ones that may be a share, or a sum or rate of anything: their values tell.
PERHAPS_SHARES = frozenset(
    {
        *("discount", "disc", "tax", "taxes", "vat", "mwst", "steuer", "rabatt", "bonus"),
    }
)
PERHAPS_MEASURES = frozenset(
    {
        *("total", "subtotal", "net", "gross", "sales", "balance", "credit", "summe", "brutto"),
        *("netto", "eur", "usd", "gbp", "chf", "charge", "charges", "turnover", "premium"),
    }
)
CURRENCY_SIGNS = frozenset("€$£")
FLAGS = frozenset({"is", "has", "was", "can", "flag", "flags", "ist", "hat", "bool"})
LABELS = frozenset(
    {
        *("zip", "zipcode", "postal", "postcode", "postalcode", "plz", "phone", "telephone"),
        *("tel", "telefon", "mobile", "fax", "telefax", "msisdn", "iban", "ssn", "cep"),
        *("ean", "gtin", "upc", "isbn", "issn", "barcode", "imei", "blz", "bsb", "fips", "siret"),
        *("cusip", "npi", "telefono", "telefone", "handy", "pincode"),
        *("phonenumber", "zipcodes", "cellphone", "eircode", "iccid", "imsi"),
    }
)
LABEL_ENDINGS = frozenset({"no", "nr", "num", "number", "nummer", "code", "id", "digits"})
IDENTIFIERS = frozenset(
    {
        *("id", "ids", "uuid", "guid", "key", "pk", "code", "sku", "isbn", "ean", "upc", "gtin"),
        *("barcode", "ref", "reference", "serial", "symbol", "ticker", "iso", "iso2"),
        *("iso3", "slug", "vin", "plate", "hash", "kennung", "username", "login", "identifier"),
        *("alpha2", "alpha3", "icao", "iata", "asin", "imei", "mac", "beleg"),
        *("ean13", "isbn10", "isbn13", "gtin13", "gtin14"),
    }
)
NUMBERED = frozenset({"no", "nr", "num", "number", "nummer", "rowid", "index", "idx"})
# Of an account with somebody else, such as a payer's: it comes again with each payment.
ACCOUNTS = frozenset({"iban", "kontonummer", "kontonr", "blz", "bic"})
# German writes a thing and its number as one word, such as Belegnummer and Kundennr.
NUMBER_ENDINGS = ("nummer", "nr", "kennung", "schlüssel")
NOT_IDS = frozenset(
    {
        *("paid", "void", "valid", "grid", "solid", "android", "covid", "bid", "mid", "kid"),
        *("liquid", "acid", "fluid", "avoid", "humid", "rapid", "hybrid", "said", "prepaid"),
        *("unpaid", "invalid", "centroid", "steroid", "thyroid", "aid", "raid", "braid", "maid"),
        *("rancid", "placid", "arid", "morbid", "timid", "vivid", "rigid", "squid", "orchid"),
        "plasmid",
    }
)
LINES = frozenset(
    {
        *("line", "lineno", "linenumber", "seq", "sequence", "pos", "position", "item", "items"),
        *(
            "sequential",
            "lfd",
            "lfdnr",
            "row",
            "rownum",
            "version",
            "ordinal",
            "step",
            "installment",
            "zeile",
            "part",
        ),
    }
)
PERIODS = frozenset(
    {
        *("date", "day", "week", "month", "year", "quarter", "hour", "period", "datum", "jahr"),
        *("monat", "time", "timestamp", "ts", "datetime", "season", "round", "fecha", "yr"),
    }
)
YEARS = frozenset({"year", "yr", "jahr", "season", "annee", "année", "anno", "año"})
TIMES = PERIODS | {"at", "on", "epoch", "created", "unix", "dt"}
# Of a number, that it counts since 1970; beside its range.
EPOCHS = (TIMES - {"no", "season", "round", "period"}) | {
    *("unixtime", "utime", "utc", "mtime", "ctime", "atime", "start", "end", "started", "ended"),
    *("starttime", "endtime", "updated", "modified", "edited", "deleted", "expires", "expiry"),
    *("when", "seen", "joined", "registered", "published", "received", "sent", "occurred"),
}
CHANGES = frozenset(
    {
        *("updated", "update", "modified", "changed", "edited", "refreshed", "synced", "loaded"),
        *("ingested", "exported", "extracted", "last", "lastmodified"),
    }
)
NEVER = frozenset(
    {
        *("birth", "birthday", "birthdate", "dob", "geburtstag", "geburtsdatum", "born", "to"),
        *("expires", "expiry", "expiration", "expire", "valid", "until", "death", "died"),
    }
)
LATER = frozenset(
    {
        *("due", "delivery", "delivered", "shipped", "ship", "shipping", "end", "ended", "closed"),
        *("finish", "finished", "dropoff", "return", "returned", "cancelled", "canceled", "stop"),
        *("deleted", "next", "scheduled", "estimated", "required", "valuta", "value", "arrival"),
        *("completed", "paid", "resolved", "approved", "launched", "release", "released", "out"),
        *("confirmed", "promised", "planned", "expected", "checkout", "archived", "wertstellung"),
        "processed",
    }
)
HAPPENED = frozenset(
    {
        *("event", "occurred", "happened", "timestamp", "created", "ordered", "order", "sold"),
        *("transaction", "purchase", "purchased", "posted", "booking", "booked", "buchung"),
        *("buchungstag", "measured", "measurement", "logged", "invoice", "visited", "visit"),
        *("started", "start", "pickup", "sale", "trip", "observed", "reading", "sent", "trade"),
        *("published", "bestelldatum", "accident", "incident", "requested", "request", "opened"),
        *("sampled", "sample", "placed", "played", "game", "match", "session", "call", "ts"),
        *("rental", "reported", "recorded", "payment", "transacted", "datetime", "submitted"),
    }
)
# What is measured again and again, each time at a moment of its own.
MEASURING = frozenset(
    {
        *("device", "sensor", "station", "meter", "machine", "node", "probe", "channel", "turbine"),
        *("symbol", "ticker", "asset", "series", "metric", "host", "vessel", "pump", "logger"),
        *("gateway", "inverter", "plant", "unit", "deviceid", "sensorid", "mmsi", "imei", "mac"),
        *("vehicle", "tracker", "truck", "bus", "car", "bike", "ship", "aircraft", "robot"),
    }
)
# Of these, the ones that without an id may well be a kind of anything, such as a sale's channel.
MEASURED_IN = frozenset({"unit", "channel", "series", "plant", "host", "ship", "asset", "metric"})
KNOWN = frozenset({"recorded", "known", "received", "reported"})
# A person's or a thing's own words, which are unique only by chance.
SHARED_NAMES = frozenset(
    {
        *("first", "last", "surname", "given", "middle", "forename", "lastname", "firstname"),
        *("address", "street", "comment", "comments", "description", "note", "notes", "text"),
        *("review", "message", "remark", "vorname", "nachname", "age", "score", "value"),
    }
)
SUBJECTS = frozenset(
    {
        *("customer", "client", "user", "product", "employee", "store", "supplier", "vendor"),
        *("country", "account", "category", "department", "member", "patient", "student"),
        *("station", "sensor", "device", "city", "person", "people", "household", "demographic"),
        *("demographics", "shop", "branch", "region", "currency", "article", "location", "staff"),
        *("kunde", "kunden", "produkt", "produkte", "artikel", "mitarbeiter", "filiale"),
        *("company", "airport", "airline", "school", "hospital", "brand", "contact", "seller"),
        *("state", "province", "county", "municipality", "language", "continent"),
        *("driver", "vehicle", "merchant", "dim", "geography", "territory", "agent", "warehouse"),
    }
)


# Texts that people make up, or that stand for one person or place: a new one is no news.
OWN_WORDS = frozenset(
    {
        *("name", "names", "title", "note", "notes", "comment", "comments", "description", "text"),
        *("message", "remark", "remarks", "review", "subject", "bemerkung", "kommentar", "notiz"),
        *("beschreibung", "verwendungszweck", "email", "mail", "address", "adresse", "street"),
        *("straße", "strasse", "url", "link", "tags", "vorname", "nachname", "json", "metadata"),
    }
)
# Of numbers with a point, of which 1.10 is not 1.1.
VERSIONS = frozenset({"version", "versions", "release", "build", "revision", "firmware"})
MAIL = frozenset({"email", "mail"})


def words(name: str) -> list[str]:
    """The words of a name in lower case: of snake_case, camelCase, and with spaces."""
    parted = re.sub(r"([a-zäöü0-9])([A-ZÄÖÜ])", r"\1_\2", name)
    parted = re.sub(r"([A-ZÄÖÜ])([A-ZÄÖÜ][a-zäöü])", r"\1_\2", parted)
    return [word for word in re.split(r"[^\w]+|_+", parted.lower()) if word]


def singular(word: str) -> str:
    """The word without the ending of an English plural."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def identifying(name: str, table: str) -> int:
    """How surely the name is that of an identifier: 3 the table's own, 2 an id, 1 a code, 0 none.

    `table` is the dataset's name, such as `orders`.
    """
    parts = words(name)
    if not parts:
        return 0
    last, rest = parts[-1], parts[:-1]
    own = {singular(word) for word in words(table)}
    glued = last.endswith("id") and last not in NOT_IDS and len(last) > 2 and last.isascii()
    if parts in (["id"], ["uuid"], ["guid"], ["pk"], ["rowid"], ["row", "id"]):
        return 3
    if last in ("id", "uuid", "guid", "key", "pk") or parts[0] == "id" or glued:
        stem = [singular(word) for word in rest] or [last.removesuffix("id").rstrip("_")]
        return 3 if stem and own >= set(stem) else 2
    if last in ACCOUNTS:
        return 0
    if last in IDENTIFIERS | NUMBERED or last.endswith(NUMBER_ENDINGS):
        return 2 if rest and own >= {singular(word) for word in rest} else 1
    return 0


def names_own(name: str, table: str) -> bool:
    """Whether an identifier of that name is the table's own: `id`, or `line_id` of `order_lines`.

    There `order_id` is that of the orders, of which the lines are.
    """
    surely = identifying(name, "")
    things = [word for word in words(table) if not word.isdecimal()]
    if surely == 3 or not things:
        return surely == 3
    is_named = any(word.startswith(singular(things[-1])) for word in words(name))
    return is_named and identifying(name, table) > surely


def is_epoch(name: str) -> bool:
    """Whether the name is that of a time, and of no identifier."""
    return says(name, EPOCHS) and not identifying(name, "") and not is_label(name)


def is_label(name: str) -> bool:
    """Whether the name is that of a label of digits, such as a postal code: no number at all.

    `zip_code` and `phone_2` are labels, `phone_calls` is not.
    """
    parts = [re.sub(r"\d+$", "", word) for word in words(name)]
    while len(parts) > 1 and (not parts[-1] or parts[-1] in LABEL_ENDINGS):
        parts.pop()
    return bool(parts) and parts[-1] in LABELS


def is_named_for(name: str, table: str) -> bool:
    """Whether the column has the table's own name, such as `country` of `countries`."""
    return {singular(word) for word in words(name)} == {singular(word) for word in words(table)}


def says(name: str, vocabulary: frozenset[str]) -> bool:
    """Whether one of the name's words is in the vocabulary."""
    return not vocabulary.isdisjoint(words(name))


def is_money(name: str) -> bool:
    """Whether the name is that of an amount of money, and not of a share of one."""
    share = {"rate", "pct", "percent", "ratio", "share", "count", "qty", "quantity", "id", "index"}
    share |= {"satz", "prozent", "quote", "anteil", "menge", "anzahl"}
    parts = words(name)
    named = not MONEY.isdisjoint(parts) or any(part.endswith(MONEY_ENDINGS) for part in parts)
    is_share = not share.isdisjoint(parts) or "%" in name
    return (named or not CURRENCY_SIGNS.isdisjoint(name)) and not is_share


def may_be_share(name: str) -> bool:
    """Whether an amount of that name may as well be a share, such as a discount of 0.2."""
    return says(name, PERHAPS_SHARES)


def is_surely_money(name: str) -> bool:
    """Whether some word of the name is of money alone; `total` and `net` are of anything."""
    parts = [part for part in words(name) if part not in PERHAPS_MEASURES]
    return is_money("_".join(parts)) or not CURRENCY_SIGNS.isdisjoint(name)


def is_own_words(name: str) -> bool:
    """Whether the name is that of a text which people make up, or of a label such as a phone's."""
    return says(name, OWN_WORDS | LABELS) or any(part.endswith("name") for part in words(name))


def is_subject(table: str) -> bool:
    """Whether the dataset's name is that of things, not of what happens to them."""
    parts = [word for word in words(table) if not word.isdecimal()]
    return bool(parts) and (
        singular(parts[-1]) in SUBJECTS or parts[-1] in SUBJECTS or "dim" in parts
    )
