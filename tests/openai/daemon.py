"""OpenAI's own client before a daemon with a real agent. Prints one JSON object: what the client made of each case.

daemon.py BASE_URL KEY
"""

import json
import sys

import openai


def user(text):
    return {"role": "user", "content": text}


def main():
    base_url, key = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key=key, timeout=120)
    model = client.models.list().data[0].id
    chat = client.chat.completions

    history = [user("!say **First** answer.")]
    first = chat.create(model=model, messages=history).choices[0].message
    history += [first, user("!say Second answer.")]
    second = chat.create(model=model, messages=history).choices[0].message

    slow = "!stream 20\n!say These words come one after the other, so that a stream has many of them."
    chunks = [chunk.choices[0].delta.content for chunk in chat.create(model=model, messages=[user(slow)], stream=True)]
    pieces = [piece for piece in chunks if piece]

    one = client.responses.create(model=model, input="!usage 1234\n!say One.")
    two = client.responses.create(model=model, input="!say Two.", previous_response_id=one.id)
    print(json.dumps({
        "model": model,
        "first": first.content,
        "second": second.content,
        "streamed": "".join(pieces),
        "pieces": len(pieces),
        "one": one.output_text,
        "used": [one.usage.input_tokens, one.usage.total_tokens - one.usage.output_tokens],
        "two": two.output_text,
        "again": client.responses.retrieve(one.id).output_text,
    }))


main()
