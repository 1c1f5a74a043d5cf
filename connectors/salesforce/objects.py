"""The objects of the sandbox org: which fields exist, what they accept, and how `describe` tells it.

Names, types and lengths of standard fields follow a describe of a real org; `syncd_id__c`, `Matter_Number__c`
and `Billed_Total__c` are the custom fields that the connector's setup page asks for. Field-level security (what
this user may not see or write) is applied by the sandbox, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INDUSTRIES = (
    "Agriculture|Apparel|Banking|Biotechnology|Chemicals|Communications|Construction|Consulting|Education|Electronics"
    "|Energy|Engineering|Entertainment|Environmental|Finance|Food & Beverage|Government|Healthcare|Hospitality|"
    "Insurance|Machinery|Manufacturing|Media|Not For Profit|Recreation|Retail|Shipping|Technology|Telecommunications|"
    "Transportation|Utilities|Other"
)
SOURCES = "Web|Phone Inquiry|Partner Referral|Purchased List|Other"

# Stage -> (probability, closed, won, forecast category).
STAGES: dict[str, tuple[float, bool, bool, str]] = {
    "Prospecting": (10.0, False, False, "Pipeline"),
    "Qualification": (10.0, False, False, "Pipeline"),
    "Needs Analysis": (20.0, False, False, "Pipeline"),
    "Value Proposition": (50.0, False, False, "Pipeline"),
    "Proposal/Price Quote": (75.0, False, False, "Best Case"),
    "Negotiation/Review": (90.0, False, False, "Commit"),
    "Closed Won": (100.0, True, True, "Closed"),
    "Closed Lost": (0.0, True, False, "Omitted"),
}

# One field a line: name, type, length (digits.scale for numbers), then marks: required, default=VALUE,
# readonly, external (external id, unique), lookup (idLookup), restricted, to=Object:relationship, label=A_B,
# values=a|b.
SYSTEM = """
Id id 18 readonly lookup
IsDeleted boolean readonly default=false
MasterRecordId reference 18 readonly to=SELF:MasterRecord
"""
AUDIT = """
OwnerId reference 18 to=User:Owner default=USER
CreatedDate datetime readonly
CreatedById reference 18 readonly to=User:CreatedBy
LastModifiedDate datetime readonly
LastModifiedById reference 18 readonly to=User:LastModifiedBy
SystemModstamp datetime readonly
syncd_id__c string 64 external label=syncd_id
"""


def _address(prefix: str) -> str:
    return f"""
{prefix}Street textarea 255
{prefix}City string 40
{prefix}State string 80
{prefix}PostalCode string 20
{prefix}Country string 80
{prefix}Latitude double 18.15
{prefix}Longitude double 18.15
{prefix}GeocodeAccuracy picklist 40 restricted values=Address|NearAddress|Block|Street|Zip|City|State|Unknown
{prefix}Address address readonly
"""


OBJECTS = {
    "Account": (
        "001",
        "Account",
        SYSTEM
        + "Name string 255 required label=Account_Name\n"
        + "Type picklist 40 values=Prospect|Customer - Direct|Customer - Channel|Technology Partner|Other\n"
        + "ParentId reference 18 to=Account:Parent\n"
        + _address("Billing")
        + _address("Shipping")
        + "Phone phone 40 label=Account_Phone\nFax phone 40\nAccountNumber string 40\nWebsite url 255\nSic string 20\n"
        + f"Industry picklist 40 values={INDUSTRIES}\n"
        + "AnnualRevenue currency 18.0\nNumberOfEmployees int 8\nTickerSymbol string 20\n"
        + "Ownership picklist 40 values=Public|Private|Subsidiary|Other\n"
        + "Description textarea 32000\nRating picklist 40 values=Hot|Warm|Cold\nSite string 80\n"
        + f"AccountSource picklist 40 values={SOURCES}\nLastActivityDate date readonly\n"
        + AUDIT,
    ),
    "Contact": (
        "003",
        "Contact",
        SYSTEM
        + "AccountId reference 18 to=Account:Account\nLastName string 80 required label=Last_Name\n"
        + "FirstName string 40 label=First_Name\nSalutation picklist 40 values=Mr.|Ms.|Mrs.|Dr.|Prof.\n"
        + "Name string 121 readonly label=Full_Name\n"
        + _address("Other")
        + _address("Mailing")
        + "Phone phone 40 label=Business_Phone\nFax phone 40\nMobilePhone phone 40\nHomePhone phone 40\n"
        + "OtherPhone phone 40\nAssistantPhone phone 40\nReportsToId reference 18 to=Contact:ReportsTo\n"
        + "Email email 80 lookup\nTitle string 128\n"
        + "Department string 80\nAssistantName string 40\n"
        + f"LeadSource picklist 40 values={SOURCES}\nBirthdate date\nDescription textarea 32000\n"
        + "HasOptedOutOfEmail boolean default=false label=Email_Opt_Out\nHasOptedOutOfFax boolean default=false\n"
        + "DoNotCall boolean default=false\nEmailBouncedReason string 255\nEmailBouncedDate datetime\n"
        + "IsEmailBounced boolean readonly default=false\nLastActivityDate date readonly\n"
        + "IndividualId reference 18 to=Individual:Individual\n"
        + AUDIT,
    ),
    "Opportunity": (
        "006",
        "Opportunity",
        SYSTEM.replace("MasterRecordId reference 18 readonly to=SELF:MasterRecord\n", "")
        + "AccountId reference 18 to=Account:Account\nName string 120 required\nDescription textarea 32000\n"
        + f"StageName picklist 255 required label=Stage values={'|'.join(STAGES)}\n"
        + "Amount currency 18.2\nProbability percent 3.0\nCloseDate date required label=Close_Date\n"
        + "Type picklist 255 values=Existing Customer - Upgrade|Existing Customer - Replacement|New Customer\n"
        + f"NextStep string 255\nLeadSource picklist 40 values={SOURCES}\n"
        + "IsClosed boolean readonly default=false\nIsWon boolean readonly default=false\n"
        + "ForecastCategory picklist 40 readonly\nForecastCategoryName picklist 40\n"
        + "CampaignId reference 18 to=Campaign:Campaign\n"
        + "ContactId reference 18 to=Contact:Contact\nLastActivityDate date readonly\n"
        + "Matter_Number__c string 40\nBilled_Total__c currency 18.2\n"
        + AUDIT,
    ),
    "Task": (
        "00T",
        "Task",
        SYSTEM.replace("MasterRecordId reference 18 readonly to=SELF:MasterRecord\n", "")
        + "WhoId reference 18 to=Contact,Lead:Who\nWhatId reference 18 to=Account,Opportunity:What\n"
        + "Subject combobox 255 values=Call|Send Letter|Send Quote|Other\nActivityDate date label=Due_Date_Only\n"
        + "Status picklist 255 default=Not+Started "
        + "values=Not Started|In Progress|Completed|Waiting on someone else|Deferred\n"
        + "Priority picklist 255 default=Normal values=High|Normal|Low\nIsHighPriority boolean readonly default=false\n"
        + "Description textarea 32000\nAccountId reference 18 readonly to=Account:Account\n"
        + "IsClosed boolean readonly default=false\n"
        + "IsArchived boolean readonly default=false\nCallDurationInSeconds int 8\n"
        + "CallType picklist 40 restricted values=Internal|Inbound|Outbound\nCallDisposition string 255\n"
        + "ReminderDateTime datetime\nIsReminderSet boolean default=false\n"
        + "TaskSubtype picklist 40 restricted default=Task values=Task|Email|ListEmail|Cadence|Call|LinkedIn\n"
        + AUDIT,
    ),
    "User": (
        "005",
        "User",
        "Id id 18 readonly lookup\nUsername string 80 required lookup\nEmail email 128 required\n"
        + "Name string 121 readonly\nLastName string 80 required\nFirstName string 40\nIsActive boolean default=true\n"
        + "UserType picklist 40 readonly\nTimeZoneSidKey picklist 40 values=America/New_York|Europe/London\n"
        + "CreatedDate datetime readonly\nLastModifiedDate datetime readonly\nSystemModstamp datetime readonly\n",
    ),
    "Organization": (
        "00D",
        "Organization",
        "Id id 18 readonly lookup\nName string 80 required\nIsSandbox boolean readonly default=false\n"
        + "OrganizationType picklist 40 readonly\nInstanceName string 5 readonly\n"
        + "CreatedDate datetime readonly\nLastModifiedDate datetime readonly\nSystemModstamp datetime readonly\n",
    ),
}
ALWAYS_FILLED = {"CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "Name", "SystemModstamp"}
RECORDED = ("Account", "Contact", "Opportunity", "Task")  # objects whose rows have owners, deletes and changes

SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `default` None: empty on create; `values`: the picklist, closed only if `is_restricted`."""

    name: str
    type: str
    label: str
    length: int = 0
    digits: int = 0
    scale: int = 0
    is_required: bool = False
    is_readonly: bool = False
    is_external: bool = False
    is_lookup: bool = False
    is_restricted: bool = False
    default: Any = None
    values: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None

    @property
    def part_of(self) -> str | None:
        """The compound field that this one belongs to."""
        for prefix in ("Billing", "Shipping", "Mailing", "Other"):
            for part in (
                "Street",
                "City",
                "State",
                "PostalCode",
                "Country",
                "Latitude",
                "Longitude",
                "GeocodeAccuracy",
            ):
                if self.name == prefix + part:
                    return prefix + "Address"
        return "Name" if self.name in {"FirstName", "LastName", "Salutation"} else None

    def describe(self, *, is_writable: bool) -> dict[str, Any]:
        """This field's entry in a describe answer, with every property that the vendor sends."""
        is_custom = self.name.endswith("__c")
        plain: dict[str, Any] = dict.fromkeys(
            (
                "aiPredictionField autoNumber calculated cascadeDelete caseSensitive dependentPicklist "
                "deprecatedAndHidden displayLocationInDecimal encrypted formulaTreatNullNumberAsZero highScaleNumber "
                "htmlFormatted "
                "queryByDistance restrictedDelete searchPrefilterable writeRequiresMasterRead"
            ).split(),
            False,
        )
        empty: dict[str, Any] = dict.fromkeys(
            (
                "calculatedFormula controllerName defaultValueFormula extraTypeInfo filteredLookupInfo "
                "inlineHelpText mask maskType referenceTargetField relationshipOrder"
            ).split()
        )
        return (
            plain
            | empty
            | {
                "aggregatable": self.type not in {"textarea", "address", "boolean"},
                "byteLength": self.length * (1 if self.type in {"id", "reference"} else 3),
                "compoundFieldName": self.part_of,
                "createable": is_writable,
                "custom": is_custom,
                "defaultValue": self.default if self.type == "boolean" else None,
                "defaultedOnCreate": self.default is not None
                or (self.is_readonly and self.type in {"id", "datetime", "boolean"}),
                "digits": self.digits if self.type == "int" else 0,
                "externalId": self.is_external,
                "filterable": self.type not in {"textarea"} or self.length <= 255,
                "groupable": self.type not in {"textarea", "datetime", "double", "currency", "percent", "address"},
                "idLookup": self.is_lookup or self.is_external,
                "label": self.label,
                "length": self.length,
                "name": self.name,
                "nameField": self.name == "Name",
                "namePointing": len(self.refers_to) > 1,
                "nillable": not (
                    self.is_required or self.default or self.type in {"id", "boolean"} or self.name in ALWAYS_FILLED
                ),
                "permissionable": not self.is_required and not self.is_readonly,
                "picklistValues": [
                    {
                        "active": True,
                        "defaultValue": value == self.default,
                        "label": value,
                        "validFor": None,
                        "value": value,
                    }
                    for value in self.values
                ],
                "polymorphicForeignKey": len(self.refers_to) > 1,
                "precision": self.digits if self.type in {"double", "currency", "percent"} else 0,
                "referenceTo": list(self.refers_to),
                "relationshipName": self.relationship,
                "restrictedPicklist": self.is_restricted,
                "scale": self.scale,
                "soapType": SOAP_TYPES.get(self.type, "xsd:string"),
                "sortable": self.type not in {"address"} and (self.type != "textarea" or self.length <= 255),
                "type": self.type,
                "unique": self.is_external,
                "updateable": is_writable,
            }
        )


def field_of(sobject: str, line: str) -> Field:
    """A field from its line, as above."""
    head, _, values = line.partition(" values=")
    name, type_, *marks = head.split(" ")
    size = marks.pop(0) if marks and marks[0][0].isdigit() else "0"
    digits, _, scale = size.partition(".")
    is_number = type_ in {"int", "double", "currency", "percent"}
    named = dict(mark.split("=", 1) for mark in marks if "=" in mark)
    target, _, relationship = named.get("to", "").replace("SELF", sobject).partition(":")
    default: Any = named.get("default", "").replace("+", " ") or None
    return Field(
        name=name,
        type=type_,
        label=named.get("label", name.removesuffix("__c")).replace("_", " "),
        length=0 if is_number else int(digits),
        digits=int(digits) if is_number else 0,
        scale=int(scale or 0),
        is_required="required" in marks,
        is_readonly="readonly" in marks,
        is_external="external" in marks,
        is_lookup="lookup" in marks,
        is_restricted="restricted" in marks,
        default=default == "true" if type_ == "boolean" else default,
        values=tuple(values.split("|")) if values else (),
        refers_to=tuple(target.split(",")) if target else (),
        relationship=relationship or None,
    )


FIELDS: dict[str, dict[str, Field]] = {
    sobject: {f.name: f for f in (field_of(sobject, line) for line in text.splitlines() if line)}
    for sobject, (_, _, text) in OBJECTS.items()
}
PREFIX_OF = {sobject: prefix for sobject, (prefix, _, _) in OBJECTS.items()}
PREFIXES = {prefix: sobject for sobject, (prefix, _, _) in OBJECTS.items()}


def summary(sobject: str, root: str) -> dict[str, Any]:
    """An object's entry in the list of all objects; `root` is /services/data/vXX.X."""
    prefix, label, _ = OBJECTS[sobject]
    is_record = sobject in RECORDED
    urls = {
        "sobject": f"{root}/sobjects/{sobject}",
        "describe": f"{root}/sobjects/{sobject}/describe",
        "rowTemplate": f"{root}/sobjects/{sobject}/{{ID}}",
    }
    yes = dict.fromkeys("layoutable mruEnabled queryable retrieveable searchable".split(), True)
    record = dict.fromkeys(
        "createable deletable feedEnabled replicateable triggerable undeletable updateable".split(), is_record
    )
    no = dict.fromkeys(
        "activateable custom customSetting deepCloneable deprecatedAndHidden hasSubtypes isInterface isSubtype".split(),
        False,
    )
    none = dict.fromkeys(
        "associateEntityType associateParentEntity defaultImplementation extendedBy extendsInterfaces implementedBy "
        "implementsInterfaces".split()
    )
    named = {"keyPrefix": prefix, "label": label, "labelPlural": label + "s", "name": sobject}
    return yes | record | no | none | named | {"mergeable": sobject in {"Account", "Contact"}, "urls": urls}


def describe(
    sobject: str, root: str, known: Mapping[str, Field], *, hidden: set[str], read_only: set[str]
) -> dict[str, Any]:
    """A describe answer: `hidden` fields are left out, `read_only` ones lose createable and updateable."""
    writable = sobject in RECORDED
    fields = [
        field.describe(is_writable=writable and not field.is_readonly and field.name not in read_only)
        for field in known.values()
        if field.name not in hidden
    ]
    master = {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": True,
        "developerName": "Master",
        "master": True,
        "name": "Master",
        "recordTypeId": "012000000000000AAA",
        "urls": {"layout": f"{root}/sobjects/{sobject}/describe/layouts/012000000000000AAA"},
    }
    described = summary(sobject, root)
    for name in ("approvalLayouts", "compactLayouts", "layouts", "listviews", "quickActions"):
        middle = "describe/" if "ayouts" in name else ""
        described["urls"][name] = f"{root}/sobjects/{sobject}/{middle}{name}"
    for name, path in (
        ("uiDetailTemplate", "{ID}"),
        ("uiEditTemplate", "{ID}/e"),
        ("uiNewRecord", f"{PREFIX_OF[sobject]}/e"),
    ):
        described["urls"][name] = f"https://sandbox.my.salesforce.com/{path}"
    return described | {
        "actionOverrides": [],
        "childRelationships": [],
        "compactLayoutable": True,
        "fields": fields,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [master],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {sobject}s", "name": "everything"}],
    }
