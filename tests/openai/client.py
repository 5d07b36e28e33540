"""OpenAI's own client on what the gateway says. Prints one JSON object: what the client made of each case.

client.py BASE_URL CASE…, a case being NAME=stream|whole:INPUT
"""

import json
import sys

import openai


def facts_of(response):
    usage = response.usage
    return {
        "input": usage.input_tokens,
        "cached": usage.input_tokens_details.cached_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.output_tokens_details.reasoning_tokens,
    }


def streamed(client, text):
    kinds, said, end = [], "", None
    with client.responses.create(model="model-a", input=text, stream=True) as events:
        for event in events:
            kinds.append(event.type)
            if event.type == "response.output_item.done" and event.item.type == "message":
                said += "".join(part.text for part in event.item.content)
            if event.type == "response.completed":
                end = facts_of(event.response)
            if event.type == "response.failed":
                end = event.response.error.code
    return {"kinds": kinds, "said": said, "end": end}


def whole(client, text):
    response = client.responses.create(model="model-a", input=text)
    return {"said": response.output_text, "end": facts_of(response), "model": response.model}


def outcome(client, how, text):
    try:
        return {"stream": streamed, "whole": whole}[how](client, text)
    except openai.APIStatusError as error:
        return {"raised": type(error).__name__, "status": error.status_code, "code": error.code}
    except Exception as error:  # what a broken connection raises is not the client's own
        return {"raised": type(error).__name__}


def main():
    base_url, *cases = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key="placeholder", max_retries=0, timeout=60)
    outcomes = {}
    for case in cases:
        name, rest = case.split("=", 1)
        how, text = rest.split(":", 1)
        outcomes[name] = outcome(client, how, text)
    print(json.dumps(outcomes))


main()
