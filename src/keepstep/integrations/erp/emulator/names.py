"""Invented Italian names, places and goods, chosen for their accents, their length and their traps."""

FIRMS = (
    "Caffè Società Agricola S.r.l.", "F.lli D’Angiò & C. S.n.c.", "Ferramenta Già Però S.p.A.", "Panificio Perché No",
    "Totale Servizi S.r.l.", "Segue Logistica S.p.A.", "Riporto Terra S.a.s.", "Città Verde Cooperativa Sociale a r.l.",
    "Müller Südtirol GmbH", "Pasticceria Lunedì di Niccolò Bianchi e Figli Società in Nome Collettivo",
    "Autofficina 1.234,56", "Hotel Età dell’Oro", "Bar Sport", "Idraulica Più S.r.l. unipersonale",
    "L’Università del Gelato S.r.l.", "Ottica Così & Così", "Vivai Gesù e Maria Azienda Agricola di Eredità Indivisa",
)  # fmt: skip
STREETS = (
    "Via Roma", "Viale della Libertà", "Piazza dell’Unità d’Italia", "Corso Vittorio Emanuele II", "Via Nizza",
    "Località Ca’ Bianca", "Strada Statale 16 Adriatica km", "Via Monsignor Giosuè Però", "Vicolo Stretto",
)  # fmt: skip
CITIES = (
    ("Forlì", "FC", "47121"), ("Cefalù", "PA", "90015"), ("San Giovanni in Persiceto", "BO", "40017"),
    ("Roma", "RM", "00184"),
    ("Mondovì", "CN", "12084"), ("Reggio nell’Emilia", "RE", "42121"), ("Bolzano/Bozen", "BZ", "39100"),
    ("Ro", "FE", "44030"),
    ("Presicce-Acquarica", "LE", "73054"), ("Santa Maria Capua Vetere", "CE", "81055"), ("Aosta/Aoste", "AO", "11100"),
)  # fmt: skip
GOODS = (
    "Vite TE M8x40 zincata", "Caffè in grani qualità «Oro» 1 kg", "Guarnizione O-Ring Ø 12,5 mm",
    "Cavo H07RN-F 3G1,5 mt 50",
    "Totale detergente multiuso 5 l",
    "Olio extravergine d’oliva DOP – lattina da 5 l, raccolta a mano, prima spremitura a freddo",
    "Segue-linea per tracciatura", "Lampada LED 10 W 4000 K E27 dimmerabile, attacco standard, confezione da 10 pezzi",
    "Piè di lampada",
    "Pannello isolante 1.200 x 600 x 40 mm classe A1 – bancale completo da 24 pezzi, imballo a perdere",
    "Riporto metallico", "Sacco nero 70x110 rotolo 20 pz", "Bullone 12/24", "Città – puzzle 1000 pezzi",
)  # fmt: skip
CATEGORIES = ("Ferramenta", "Alimentari", "Elettricità", "Pulizia e igiene", "Varie", "Edilizia – isolanti")
UNITS = ("PZ", "KG", "MT", "CF", "LT")
VAT_CODES = ("22", "22", "22", "10", "4", "N3.1", "N4")
REASONS = (
    "Vendita",
    "Conto lavorazione",
    "Reso per sostituzione",
    "Omaggio",
    "Tentata vendita con riserva di gradimento",
)
CARRIAGE = ("Franco", "Assegnato", "Add. in fattura")
STATUSES = ("Aperto", "Evaso", "Parziale", "Annullato")
REFERENCES = (
    "Mail del 3",
    "Tel. sig.ra Però",
    "ODA 4500012345",
    "Fiera di Forlì, stand 12 – come da accordi verbali",
    "",
)
AGENT_NAMES = ("Niccolò Già", "Mariù D’Amico", "Jürgen Höfer", "Anna Libertà", "Ugo Così")
