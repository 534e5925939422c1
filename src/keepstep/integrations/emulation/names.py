"""Invented words that seeded records are made of, awkward ones included.

Accents, CJK, emoji, right-to-left, quotes, backslashes, control characters: what a sync meets in real accounts.
"""

FIRST = (
    "Ann", "Joe", "Maya", "Omar", "Lena", "Theo", "Ines", "Bram", "Cora", "Dario", "Edda", "Finn", "Gwen", "Hugo",
    "Iris", "Jonas", "Kaya", "Luca", "Mina", "Nils", "Olga", "Pia", "Quinn", "Rosa", "Sven", "Tara", "Ugo", "Vera",
    "Wim", "Yara", "Zoë", "José", "Søren", "Łucja", "Åsa", "Noël", "Jürgen", "Chloé", "İpek", "Đorđe", "D'Arcy",
    "Mary-Jane", "明", "さくら", "지우", "مريم", "שרה", "Ольга", "Νίκος", "अनीता",
)  # fmt: skip
LAST = (
    "Vale", "Reed", "Harbor", "Stone", "Marsh", "Quill", "Ashdown", "Birch", "Calder", "Dunmore", "Ember", "Fallow",
    "Garrick", "Hollis", "Ivers", "Jessop", "Kestrel", "Lomax", "Merrow", "Norwood", "Orchard", "Pellam", "Quarry",
    "Rowan", "Sorrel", "Thorne", "Umber", "Verity", "Wexley", "Yarrow", "O'Dell", "van der Meer", "Núñez", "Müller",
    "Ångström", "Żak", "D’Amico", "Smith \"Smitty\" Jr.", "山田", "김", "الحداد", "כהן", "Петрова", "Öztürk",
    "de la Cruz", "Back\\Slash",
)  # fmt: skip
COMPANIES = (
    "Vale Holdings LLC", "Harbor & Sons", "Stone \"Rock\" Estates", "Blue Door Realty 🏠", "Åkesson Fastigheter AB",
    "Les Trois Érables SARL", "山田不動産", "Marsh\tTabbed Ltd", "Northlight Homes, Inc.", "Quarry Lane Partners",
    "שער הגן בע\"מ", "Ember/Ash Co",
)  # fmt: skip
PLACES = (
    "Harbor", "Maple", "Cedar", "Willow", "Sunset", "Lakeview", "Église", "Kastanien", "Mill", "Orchard", "Garden",
    "River", "St. John's", "Peña", "Ōmiya", "North \"Old\" Gate", "Elm", "Quarry", "Beacon", "aspen",
)  # fmt: skip
HOUSES = ("Duplex", "Court", "House", "Lofts", "Terrace", "Residences", "Plaza", "Cottages", "Row", "Tower")
STREETS = (
    "Harbor St",
    "Maple Ave",
    "Cedar Ln",
    "Willow Way",
    "Calle Peña",
    "Rue de l'Église",
    "Mill Rd",
    "Orchard Blvd",
)
CITIES = (
    ("Dayton", "OH", "45402", 39.759, -84.1917),
    ("Austin", "TX", "78701", 30.2711, -97.7437),
    ("Española", "NM", "87532", 35.9911, -106.0806),
    ("Portland", "ME", "04101", 43.6591, -70.2568),
    ("Boise", "ID", "83702", 43.615, -116.2023),
    ("Coeur d’Alene", "ID", "83814", 47.6777, -116.7805),
)
AMENITIES = ("Parking", "Laundry", "Pool", "Gym", "Bike room", "Dog run", "EV charger ⚡", "Roof deck")
LONG_NOTE = "\n".join(
    f'{n:03d}. Called about the boiler; left a message. Réparé? "Yes", said the caretaker 🔧\tcost: ${n * 3}.50 \\ paid'
    for n in range(1, 181)
)
"""About 17 KB: what people paste into a notes field."""
NOTES = (
    "Prefers e-mail.", "Two cats, one very old.", "Pays on the 3rd; agreed.", "Line one\nLine two\nLine three",
    "Tab\tseparated\tvalues", "C:\\Users\\office\\lease.pdf", "He said \"no smoking\".",
    "Crème brûlée party on the 14th 🎉", "連絡は午後にお願いします", "يرجى الاتصال مساءً", "נא לא להתקשר בשבת",
    "CRLF here\r\nand there\r\n", "<b>not html</b> & 'quoted'", "NULL", "\\N", "{}", "{\"looks\":\"like json\"}",
    " leading and trailing ", "é as two: e\u0301", "zero\u200bwidth and \u2028 separator",
    "DEL \u007f and bell \u0007", "=SUM(A1:A9)", "Robert'); DROP TABLE leases;--", "👨‍👩‍👧‍👦 family of four", "",
)  # fmt: skip
