"""Starts vLLM's own OpenAI server with the settings that its CPU build reads from the environment."""

import os
import runpy

SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


def main() -> None:
    """Hand the command line on to vLLM."""
    os.environ.update(SETTINGS)
    # The third-party wheel has no metadata under the name vllm, without which the `vllm` command does not start.
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
