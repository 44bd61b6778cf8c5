"""Run inside MLflow's environment: makes the endpoint ``bench-1`` at an OpenAI-format upstream."""

# mypy: disable-error-code=import-not-found

import sys

from mlflow.entities.gateway_endpoint import GatewayEndpointModelConfig, GatewayModelLinkageType
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.rest_utils import MlflowHostCreds

server, upstream = sys.argv[1:3]
store = RestStore(lambda: MlflowHostCreds(server))
secret = store.create_gateway_secret(
    secret_name="bench",
    secret_value={"api_key": "sk-upstream"},
    provider="openai",
    auth_config={"api_base": upstream},
)
model = store.create_gateway_model_definition(
    name="bench-1", secret_id=secret.secret_id, provider="openai", model_name="bench-1"
)
store.create_gateway_endpoint(
    name="bench-1",
    model_configs=[
        GatewayEndpointModelConfig(
            model_definition_id=model.model_definition_id,
            linkage_type=GatewayModelLinkageType.PRIMARY,
        )
    ],
    usage_tracking=False,
)
