"""Tax ids of customers and of the account, shown on invoices; verified later where registers exist.

Verification: EU and UK VAT ids, Australian ABNs and the like are checked by Stripe; the sandbox says
``verified``, or ``unverified`` for the documented test values 000000000 and 111111111 (which stays pending).
Source: https://docs.stripe.com/billing/customer/tax-ids
"""

from __future__ import annotations

import re
from typing import Any, Final

from tallystick.sandbox.errors import invalid, missing
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("tax_id", "tax ID", indexes=("customer",))]

VERIFY: Final = "verify_tax_id"

_TYPES: Final = (
    "ad_nrt ae_trn al_tin am_tin ao_tin ar_cuit au_abn au_arn aw_tin az_tin ba_tin bb_tin bd_bin"
    " bf_ifu bg_uic bh_vat bj_ifu bo_tin br_cnpj br_cpf bs_tin by_tin ca_bn ca_gst_hst ca_pst_bc"
    " ca_pst_mb ca_pst_sk ca_qst cd_nif ch_uid ch_vat cl_tin cm_niu cn_tin co_nit cr_tin cv_nif de_stn"
    " do_rcn ec_ruc eg_tin es_cif et_tin eu_oss_vat eu_vat fo_vat gb_vat ge_vat gi_tin gn_nif hk_br"
    " hr_oib hu_tin ic_nif id_npwp il_vat in_gst is_vat it_cf jp_cn jp_rn jp_trn ke_pin kg_tin kh_tin"
    " kr_brn kz_bin la_tin li_uid li_vat lk_vat ma_vat md_vat me_pib mk_vat mr_nif mx_rfc my_frp"
    " my_itn my_sst ng_tin no_vat no_voec np_pan nz_gst om_vat pe_ruc ph_tin pl_nip py_ruc ro_tin"
    " rs_pib ru_inn ru_kpp sa_vat sg_gst sg_uen si_tin sn_ninea sr_fin sv_nit th_vat tj_tin tr_tin"
    " tw_vat tz_vat ua_vat ug_tin us_ein uy_ruc uz_tin uz_vat ve_rif vn_tin za_vat zm_tin zw_tin"
).split()
_VERIFIED: Final = ("au_abn", "eu_vat", "gb_vat")
_SHAPES: Final = {
    "eu_vat": re.compile(
        r"(AT|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK|XI)"
        r"[0-9A-Z+*.]{2,12}"
    ),
    "gb_vat": re.compile(r"(GB|XI)?([0-9]{9}|[0-9]{12}|(GD|HA)[0-9]{3})"),
    "us_ein": re.compile(r"[0-9]{2}-?[0-9]{7}"),
}
DATA: Final = Params({"type": one_of(*_TYPES), "value": text()}, required=("type", "value"))
_OWNER: Final = Params(
    {"account": text(), "customer": text(), "type": one_of("account", "application", "customer", "self")},
    required=("type",),
)


def make(call: Call, customer: str | None, kind: str, value: str) -> Obj:
    """A new tax id of a customer, or of the account; 400 for a value that cannot be one."""
    shape = _SHAPES.get(kind)
    if shape is not None and not shape.fullmatch(value.replace(" ", "").upper()):
        raise invalid(f"Invalid value for {kind}.", param="value", code="tax_id_invalid")
    country = value[:2].upper() if kind in ("eu_vat", "eu_oss_vat") else kind[:2].upper()
    owner: Obj = {"type": "self"}
    if customer is not None:
        owner = {"customer": customer, "customer_account": None, "type": "customer"}
    tax_id: Obj = {
        "id": call.sandbox.ids.new("txi"),
        "object": "tax_id",
        "country": "GR" if country == "EL" else country,
        "created": call.now,
        "customer": customer,
        "customer_account": None,
        "livemode": False,
        "owner": owner,
        "type": kind,
        "value": value,
        "verification": {
            "status": "pending" if kind in _VERIFIED else "unavailable",
            "verified_address": None,
            "verified_name": None,
        },
    }
    call.store.put(tax_id)
    if kind in _VERIFIED:
        call.after(call.sandbox.settings.refund_delay, VERIFY, tax_id["id"])
    if customer is not None:
        call.emit("customer.tax_id.created", tax_id)
    return tax_id


def verify(call: Call, tax_id: str) -> None:
    """Timer: the register has answered."""
    found = call.store.get("tax_id", tax_id)
    if found is None or "111111111" in found["value"]:
        return
    status = "unverified" if "000000000" in found["value"] else "verified"
    previous = call.store.change(found, verification={**found["verification"], "status": status})
    if found["customer"] is not None:
        call.emit("customer.tax_id.updated", found, previous)


ACTIONS: Final = {VERIFY: verify}


def create(call: Call) -> Obj:
    """POST /v1/customers/{id}/tax_ids."""
    call.find("customer")
    return make(call, call.ids[0], call.params["type"], call.params["value"])


def create_any(call: Call) -> Obj:
    """POST /v1/tax_ids: of the account, or of the customer named as ``owner``."""
    params = call.params
    return make(call, _owner(call, params.get("owner", {"type": "self"})), params["type"], params["value"])


def _owner(call: Call, owner: dict[str, Any]) -> str | None:
    if owner["type"] == "customer":
        if "customer" not in owner:
            raise invalid(
                "Missing required param: owner[customer].",
                param="owner[customer]",
                code="parameter_missing",
            )
        return str(call.find("customer", owner["customer"])["id"])
    if owner["type"] == "self" or owner.get("account") == call.sandbox.account_id:
        return None
    raise invalid("The sandbox has one account and no Connect.", param="owner[type]")


def _find(call: Call) -> Obj:
    tax_id = call.store.get("tax_id", call.ids[-1])
    if tax_id is None or (len(call.ids) > 1 and tax_id["customer"] != call.ids[0]):
        raise missing("tax_id", call.ids[-1], "id")
    return tax_id


def retrieve(call: Call) -> Obj:
    """GET /v1/tax_ids/{id}, /v1/customers/{id}/tax_ids/{id}."""
    return _find(call)


def delete(call: Call) -> Obj:
    """DELETE the same."""
    tax_id = _find(call)
    if tax_id["customer"] is not None:
        call.emit("customer.tax_id.deleted", tax_id)
    call.store.remove(tax_id)
    return {"id": tax_id["id"], "object": "tax_id", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/customers/{id}/tax_ids."""
    call.find("customer")
    call.params["customer"] = call.ids[0]
    return page(call, "tax_id", f"/v1/customers/{call.ids[0]}/tax_ids")


def list_any(call: Call) -> Obj:
    """GET /v1/tax_ids: those of the account, or of ``owner``."""
    owner = _owner(call, call.params.pop("owner", {"type": "self"}))
    return page(call, "tax_id", "/v1/tax_ids", matches=lambda tax_id: tax_id["customer"] == owner)


ROUTES: Final = [
    Route("POST", "/v1/customers/{}/tax_ids", create, DATA),
    Route("GET", "/v1/customers/{}/tax_ids", list_all, listing()),
    Route("GET", "/v1/customers/{}/tax_ids/{}", retrieve),
    Route("DELETE", "/v1/customers/{}/tax_ids/{}", delete),
    Route(
        "POST",
        "/v1/tax_ids",
        create_any,
        Params({**DATA.fields, "owner": _OWNER}, required=("type", "value")),
    ),
    Route("GET", "/v1/tax_ids", list_any, listing(owner=_OWNER)),
    Route("GET", "/v1/tax_ids/{}", retrieve),
    Route("DELETE", "/v1/tax_ids/{}", delete),
]
