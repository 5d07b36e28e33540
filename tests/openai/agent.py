"""OpenAI's own client before an agent. Prints one JSON object: what the client made of each case.

agent.py BASE_URL KEY [impatient]
"""

import json
import sys

import openai
import pydantic

PNG = "data:image/png;base64,iVBORw0KGgo="


class Place(pydantic.BaseModel):
    city: str


def raised(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code]
    return "nothing"


def user(text):
    return [{"role": "user", "content": text}]


def chat_cases(client):
    chat = client.chat.completions
    hello = chat.create(model="demo", messages=user("hello"), temperature=0.1, max_tokens=9, seed=1)
    chunks = chat.create(model="demo", messages=user("grow"), stream=True, stream_options={"include_usage": True})
    chunks = list(chunks)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    with chat.stream(model="demo", messages=user("grow")) as events:
        helped = events.get_final_completion().choices[0].message.content
    parsed = chat.parse(model="demo", messages=user("json"), response_format=Place)

    history = user("chat first")
    history.append(chat.create(model="demo", messages=history).choices[0].message)
    history += user("chat next")
    chat.create(model="demo", messages=history)

    for _ in range(2):
        chat.create(model="demo", messages=user("in my thread"), metadata={"thread": "mine"})
    image = {"type": "image_url", "image_url": {"url": PNG}}
    chat.create(model="demo", messages=user([{"type": "text", "text": "with an image"}, image]))
    return {
        "chat": {
            "text": hello.choices[0].message.content,
            "finish": hello.choices[0].finish_reason,
            "usage": hello.usage.model_dump(exclude_unset=True),
        },
        "chat_stream": streamed,
        "chat_stream_usage": chunks[-1].usage.total_tokens,
        "chat_helper": helped,
        "chat_parsed": parsed.choices[0].message.parsed.city,
    }


def response_cases(client):
    responses = client.responses
    hello = responses.create(model="demo", input="hello", reasoning={"effort": "low"}, store=False)
    said, last = "", None
    for event in responses.create(model="demo", input="grow", stream=True):
        last = event.type
        if event.type == "response.output_text.delta":
            said += event.delta
    with responses.stream(model="demo", input="grow") as events:
        helped = events.get_final_response().output_text
    parsed = responses.parse(model="demo", input="json", text_format=Place)

    first = responses.create(model="demo", input="response first")
    responses.create(model="demo", input="response next", previous_response_id=first.id)
    history = user("input first")
    history += responses.create(model="demo", input=history).output
    responses.create(model="demo", input=history + user("input next"))

    parts = [
        {"type": "input_text", "text": "with an image"},
        {"type": "input_image", "detail": "auto", "image_url": PNG},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
    ]
    responses.create(model="demo", input=user(parts))
    return {
        "response": {"text": hello.output_text, "status": hello.status, "usage": hello.usage.model_dump(exclude_unset=True)},
        "response_stream": {"text": said, "last": last},
        "response_helper": helped,
        "response_parsed": parsed.output_parsed.city,
        "retrieved": responses.retrieve(hello.id).output_text,
    }


def failed_stream(client):
    try:
        for _ in client.chat.completions.create(model="demo", messages=user("fail"), stream=True):
            pass
    except openai.APIError as error:
        return error.message
    return "nothing"


def error_cases(client):
    chat, responses = client.chat.completions, client.responses
    stranger = client.with_options(api_key="cfd_wrong")
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    events = list(responses.create(model="demo", input="fail", stream=True))
    return {
        "wrong_key": raised(lambda: stranger.models.list()),
        "wrong_model": raised(lambda: chat.create(model="gpt-5", messages=user("x"))),
        "wrong_response": raised(lambda: responses.retrieve("resp_nobodys_0")),
        "tools": raised(lambda: chat.create(model="demo", messages=user("x"), tools=[tool])),
        "image_address": raised(lambda: chat.create(model="demo", messages=user([image]))),
        "failed": raised(lambda: chat.create(model="demo", messages=user("fail"))),
        "failed_stream": failed_stream(client),
        "failed_response": events[-1].response.error.message,
    }


def impatient(client):
    client = client.with_options(timeout=3, max_retries=9)
    return {"text": client.responses.create(model="demo", input="slow").output_text}


def main():
    base_url, key, *how = sys.argv[1:]
    client = openai.OpenAI(base_url=base_url, api_key=key, timeout=60)
    if how == ["impatient"]:
        print(json.dumps(impatient(client)))
        return
    outcomes = {
        "models": [model.id for model in client.models.list()],
        "model": client.models.retrieve("demo").id,
    }
    for cases in (chat_cases, response_cases, error_cases):
        outcomes |= cases(client)
    print(json.dumps(outcomes))


main()
