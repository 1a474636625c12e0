"""The managed runtime for Python: speaks the Runtime API for a function's handler."""

import http.client
import importlib
import json
import os
import sys
import time
import traceback

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
VERSION = "2018-06-01"


def call(connection, method, path, body=None, headers=None):
    connection.request(method, f"/{VERSION}/runtime/{path}", body=body, headers=headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def failure(error, kind=None, message=None, frames=None):
    return {
        "errorMessage": str(error) if message is None else message,
        "errorType": kind or type(error).__name__,
        "requestId": "",
        "stackTrace": frames if frames is not None else [],
    }


def frames_of(error):
    # Those of this file come first, and are not the function's.
    own = traceback.extract_tb(error.__traceback__)
    return traceback.format_list([frame for frame in own if frame.filename != __file__])


class Fault(Exception):
    def __init__(self, kind, message, frames=()):
        super().__init__(message)
        self.told = failure(None, kind, message, list(frames))


def handler():
    name = os.environ.get("_HANDLER", "")
    module, dot, function = name.rpartition(".")
    if not dot or not module or not function:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    try:
        loaded = importlib.import_module(module.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module}': {error}", frames_of(error)) from error
    except SyntaxError as error:
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", frames_of(error)) from error
    try:
        return getattr(loaded, function)
    except AttributeError as error:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module}'") from error


class Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    """What a handler is told of its invocation."""

    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = Identity()
        client = headers.get("Lambda-Runtime-Client-Context")
        self.client_context = json.loads(client) if client else None
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(self._deadline - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))


def answer_of(function, event, context):
    try:
        result = function(event, context)
    except Exception as error:
        frames = frames_of(error)
        print(f"[ERROR] {type(error).__name__}: {error}\nTraceback (most recent call last):\n{''.join(frames)}", flush=True)
        return None, failure(error, frames=frames)
    try:
        return json.dumps(result, ensure_ascii=False).encode(), None
    except (TypeError, ValueError) as error:
        return None, failure(None, "Runtime.MarshalError", f"Unable to marshal response: {error}", [])


def main():
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    sys.path.insert(0, root)
    os.chdir(root)
    print(f"INIT_START Runtime Version: python:{sys.version.split()[0]}", flush=True)
    connection = http.client.HTTPConnection(API, timeout=None)
    try:
        function = handler()
    except Fault as fault:
        told = fault.told
    except Exception as error:
        told = failure(error, frames=frames_of(error))
    else:
        told = None
    if told is not None:
        print(f"[ERROR] {told['errorType']}: {told['errorMessage']}", flush=True)
        kind = {"Lambda-Runtime-Function-Error-Type": told["errorType"]}
        call(connection, "POST", "init/error", json.dumps(told), kind)
        sys.exit(1)
    while True:
        head, body = call(connection, "GET", "invocation/next")
        headers = head.headers
        request = headers["Lambda-Runtime-Aws-Request-Id"]
        trace = headers.get("Lambda-Runtime-Trace-Id")
        if trace:
            os.environ["_X_AMZN_TRACE_ID"] = trace
        try:
            event = json.loads(body)
        except ValueError as error:
            result, told = None, failure(None, "Runtime.UnmarshalError", f"Unable to unmarshal input: {error}", [])
        else:
            result, told = answer_of(function, event, Context(headers))
        sys.stdout.flush()
        sys.stderr.flush()
        if told is None:
            call(connection, "POST", f"invocation/{request}/response", result)
        else:
            told["requestId"] = request
            kind = {"Lambda-Runtime-Function-Error-Type": told["errorType"]}
            call(connection, "POST", f"invocation/{request}/error", json.dumps(told), kind)


main()
