"""Why an action on a gateway cannot be done, and what a person has to move so that it can."""

from __future__ import annotations

from collections.abc import Mapping

from watchkeeper.adapters.problems import FIXES as COMMON

FIXES: Mapping[str, str] = {
    **COMMON,
    "not_a_key_hash": "name a key by the hash of its token (64 hex digits), never by the key itself",
    "missing": "it is not on the gateway (any more); look at the gateway's list",
    "read_only": "only the gateway writes this field",
    "no_database": "keys, teams and fallbacks need a database: give the gateway DATABASE_URL (PostgreSQL) and "
    "restart it",
    "model_in_yaml": "move the model from the gateway's config.yaml into its database: take it out of model_list and "
    "create it with POST /model/new (store_model_in_db: true)",
    "weight_unset": "give the deployment a weight (litellm_params.weight: 1, and one to its siblings): LiteLLM cannot "
    "take a weight away again, so the way back would not be exact",
    "setting_in_yaml": "take the fallbacks (router_settings or litellm_settings) out of the gateway's config.yaml and "
    "set them with POST /fallback: a change by API would be ignored, or would lose the file's whole list",
    "slash_in_name": "give the model group a name without a slash: the gateway's /fallback/{model} cannot name it",
    "only_deployment": "add a second deployment to the model group: there is nowhere to shift the traffic to",
    "unknown_group": "name only model groups that the gateway has",
    "own_fallback": "a model group cannot be its own fallback",
}
