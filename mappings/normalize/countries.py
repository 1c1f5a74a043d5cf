"""Countries and their regions: a table of the names people type, to ISO 3166 codes. For comparing only.

What the table does not know compares by its folded name. Source of the codes: ISO 3166-1 and 3166-2, as of 2024; the
names of the less common countries are those that phonenumbers has.
"""

from __future__ import annotations

from functools import lru_cache

from mappings.normalize.normalized import Normalized, refused
from mappings.normalize.text import fold

_COUNTRIES = """
US United States|United States of America|USA|U.S.|U.S.A.|America
GB United Kingdom|UK|U.K.|Great Britain|England|Scotland|Wales|Northern Ireland
CA Canada|CAN
AU Australia|AUS
NZ New Zealand|NZL
IE Ireland|Eire|Republic of Ireland|IRL
DE Germany|Deutschland|Federal Republic of Germany|DEU
FR France|FRA
ES Spain|España|ESP
PT Portugal|PRT
IT Italy|Italia|ITA
NL Netherlands|The Netherlands|Holland|Nederland|NLD
BE Belgium|Belgique|België|BEL
LU Luxembourg|LUX
CH Switzerland|Schweiz|Suisse|Svizzera|CHE
AT Austria|Österreich|AUT
DK Denmark|Danmark|DNK
SE Sweden|Sverige|SWE
NO Norway|Norge|NOR
FI Finland|Suomi|FIN
IS Iceland|ISL
PL Poland|Polska|POL
CZ Czechia|Czech Republic|CZE
SK Slovakia|SVK
HU Hungary|HUN
RO Romania|ROU
BG Bulgaria|BGR
GR Greece|Hellas|GRC
CY Cyprus|CYP
MT Malta|MLT
EE Estonia|EST
LV Latvia|LVA
LT Lithuania|LTU
HR Croatia|HRV
SI Slovenia|SVN
UA Ukraine|UKR
RU Russia|Russian Federation|RUS
TR Turkey|Türkiye|TUR
IL Israel|ISR
AE United Arab Emirates|UAE|ARE
SA Saudi Arabia|SAU
EG Egypt|EGY
ZA South Africa|ZAF
NG Nigeria|NGA
KE Kenya|KEN
IN India|IND
PK Pakistan|PAK
CN China|People's Republic of China|PRC|CHN
HK Hong Kong|HKG
TW Taiwan|TWN
JP Japan|JPN
KR South Korea|Korea|Republic of Korea|KOR
SG Singapore|SGP
MY Malaysia|MYS
TH Thailand|THA
VN Vietnam|Viet Nam|VNM
PH Philippines|PHL
ID Indonesia|IDN
MX Mexico|México|MEX
BR Brazil|Brasil|BRA
AR Argentina|ARG
CL Chile|CHL
CO Colombia|COL
PE Peru|PER
PA Panama|PAN
BS Bahamas|The Bahamas|BHS
BM Bermuda|BMU
KY Cayman Islands|CYM
VG British Virgin Islands|BVI|VGB
JE Jersey|JEY
GG Guernsey|GGY
IM Isle of Man|IMN
LI Liechtenstein|LIE
PR Puerto Rico|PRI
AD Andorra
AF Afghanistan
AG Antigua and Barbuda
AI Anguilla
AL Albania
AM Armenia
AO Angola
AQ Antarctica
AS American Samoa
AW Aruba
AX Åland Islands
AZ Azerbaijan
BA Bosnia and Herzegovina|Bosnia
BB Barbados
BD Bangladesh
BF Burkina Faso
BH Bahrain
BI Burundi
BJ Benin
BL Saint Barthélemy
BN Brunei
BO Bolivia
BQ Bonaire, Sint Eustatius and Saba
BT Bhutan
BV Bouvet Island
BW Botswana
BY Belarus
BZ Belize
CC Cocos Islands
CD The Democratic Republic Of Congo|Democratic Republic of the Congo|DR Congo
CF Central African Republic
CG Congo|Republic of the Congo
CI Côte d'Ivoire|Ivory Coast
CK Cook Islands
CM Cameroon
CR Costa Rica
CU Cuba
CV Cape Verde
CW Curaçao
CX Christmas Island
DJ Djibouti
DM Dominica
DO Dominican Republic
DZ Algeria
EC Ecuador
EH Western Sahara
ER Eritrea
ET Ethiopia
FJ Fiji
FK Falkland Islands
FM Micronesia
FO Faroe Islands
GA Gabon
GD Grenada
GE Georgia
GF French Guiana
GH Ghana
GI Gibraltar
GL Greenland
GM Gambia
GN Guinea
GP Guadeloupe
GQ Equatorial Guinea
GS South Georgia And The South Sandwich Islands
GT Guatemala
GU Guam
GW Guinea-Bissau
GY Guyana
HM Heard Island And McDonald Islands
HN Honduras
HT Haiti
IO British Indian Ocean Territory
IQ Iraq
IR Iran|Islamic Republic of Iran
JM Jamaica
JO Jordan
KG Kyrgyzstan
KH Cambodia
KI Kiribati
KM Comoros
KN Saint Kitts And Nevis|Saint Kitts and Nevis
KP North Korea
KW Kuwait
KZ Kazakhstan
LA Laos|Lao
LB Lebanon
LC Saint Lucia
LK Sri Lanka
LR Liberia
LS Lesotho
LY Libya
MA Morocco
MC Monaco
MD Moldova
ME Montenegro
MF Saint Martin
MG Madagascar
MH Marshall Islands
MK Macedonia
ML Mali
MM Myanmar|Burma
MN Mongolia
MO Macao|Macau
MP Northern Mariana Islands
MQ Martinique
MR Mauritania
MS Montserrat
MU Mauritius
MV Maldives
MW Malawi
MZ Mozambique
NA Namibia
NC New Caledonia
NE Niger
NF Norfolk Island
NI Nicaragua
NP Nepal
NR Nauru
NU Niue
OM Oman
PF French Polynesia
PG Papua New Guinea
PM Saint Pierre And Miquelon
PN Pitcairn
PS Palestine
PW Palau
PY Paraguay
QA Qatar
RE Reunion
RS Serbia
RW Rwanda
SB Solomon Islands
SC Seychelles
SD Sudan
SH Saint Helena
SJ Svalbard And Jan Mayen
SL Sierra Leone
SM San Marino
SN Senegal
SO Somalia
SR Suriname
SS South Sudan
ST Sao Tome And Principe
SV El Salvador
SX Sint Maarten (Dutch part)
SY Syria|Syrian Arab Republic
SZ Swaziland
TC Turks And Caicos Islands
TD Chad
TF French Southern Territories
TG Togo
TJ Tajikistan
TK Tokelau
TL Timor-Leste|East Timor
TM Turkmenistan
TN Tunisia
TO Tonga
TT Trinidad and Tobago|Trinidad
TV Tuvalu
TZ Tanzania
UG Uganda
UM United States Minor Outlying Islands
UY Uruguay
UZ Uzbekistan
VA Vatican|Holy See
VC Saint Vincent And The Grenadines|Saint Vincent and the Grenadines
VE Venezuela
VI U.S. Virgin Islands|US Virgin Islands
VU Vanuatu
WF Wallis And Futuna
WS Samoa
YE Yemen
YT Mayotte
ZM Zambia
ZW Zimbabwe
"""

_REGIONS = """
AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware|DC District of Columbia
FL Florida|GA Georgia|HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|KS Kansas|KY Kentucky|LA Louisiana|ME Maine
MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|MS Mississippi|MO Missouri|MT Montana|NE Nebraska|NV Nevada
NH New Hampshire|NJ New Jersey|NM New Mexico|NY New York|NC North Carolina|ND North Dakota|OH Ohio|OK Oklahoma|OR Oregon
PA Pennsylvania|RI Rhode Island|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia
WA Washington|WV West Virginia|WI Wisconsin|WY Wyoming
AB Alberta|BC British Columbia|MB Manitoba|NB New Brunswick|NL Newfoundland and Labrador|NS Nova Scotia|ON Ontario
PE Prince Edward Island|QC Quebec|SK Saskatchewan|NT Northwest Territories|NU Nunavut|YT Yukon
NSW New South Wales|QLD Queensland|VIC Victoria|TAS Tasmania
"""


def _plain(text: str) -> str:
    return fold(text).replace(".", "")


def _country_table() -> dict[str, str]:
    table = {}
    for line in _COUNTRIES.strip().splitlines():
        code, _, names = line.partition(" ")
        table[code.lower()] = code
        for name in names.split("|"):
            table[_plain(name)] = code
    return table


_CODES = _country_table()
_REGION_CODES = {
    _plain(name): code
    for line in _REGIONS.strip().splitlines()
    for code, _, name in (entry.partition(" ") for entry in line.split("|"))
}


def country_code(raw: str) -> str | None:
    """ISO 3166-1 alpha-2 for a code or a name, or None when the table does not know it."""
    return _CODES.get(_plain(raw))


def country(raw: str) -> str:
    """What countries are compared by: the ISO code, else the folded name."""
    plain = _plain(raw)
    return _CODES.get(plain, plain)


def region(raw: str) -> str:
    """What states and provinces are compared by: the usual abbreviation where there is one, else the folded name."""
    plain = _plain(raw)
    if plain[2:3] == "-" and plain[:2].upper() in _CODES.values():
        plain = plain[3:]  # ISO 3166-2: US-NY
    return _REGION_CODES.get(plain, plain).lower()


PARSER = "countries 1"


@lru_cache(maxsize=8192)
def read(raw: str) -> Normalized:
    """ISO 3166-1 alpha-2, or why there is none."""
    code = country_code(raw)
    if code is not None:
        return Normalized(raw, code, PARSER, 1.0 if raw.strip().upper() == code else 0.95)
    return refused(raw, PARSER, "no country has this name or code" if raw.strip() else "it is blank")
