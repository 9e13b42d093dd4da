"""Whether W&B's server accepts a run, found out without a long wait."""

import base64
import json
import os
import threading
import urllib.error
import urllib.request

from vesalius.training.tracking.wandb_environment import Mode


def choose_mode(wanted: Mode, wait: float = 2.0) -> tuple[Mode, str | None]:
    """`online` only where it can work at once; otherwise `offline` with the reason. Other modes stay as they are.

    Args:
        wanted: by the user.
        wait: seconds that the server has to reply; at most 2.
    """
    if wanted != "online":
        return wanted, None
    import wandb

    key = os.environ.get("WANDB_API_KEY") or wandb.api.api_key
    if not key:
        return "offline", "W&B stays offline: no key was found. Log in with `wandb login`, then use mode=online."
    server = str(wandb.setup().settings.base_url)
    # In a thread: neither the look-up of a name nor a slow server keeps to a timeout.
    reply: list[str | None] = []
    asking = threading.Thread(target=lambda: reply.append(_ask(server, key)), daemon=True)
    asking.start()
    asking.join(min(wait, 2.0))
    problem = reply[0] if reply else "its server does not reply"
    return ("online", None) if problem is None else ("offline", f"W&B stays offline: {problem}.")


def _ask(server: str, key: str) -> str | None:
    """Why a server does not accept runs, or None; W&B itself would try for more than ten seconds."""
    secret = base64.b64encode(f"api:{key}".encode()).decode()
    headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server}/graphql", b'{"query": "{viewer {id}}"}', headers)
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            content = json.load(response)
        known = (content.get("data") or {}).get("viewer")
    except urllib.error.HTTPError as error:
        known = None
        if error.code not in (401, 403):
            return f"its server has trouble ({error.code})"
    except (OSError, ValueError, AttributeError) as error:
        return f"its server does not reply ({error})"
    return None if known else "its server does not know the key: log in with `wandb login --relogin`"
