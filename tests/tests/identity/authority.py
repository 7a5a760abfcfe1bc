"""The Workload API through a library nobody here wrote (PyPI: spiffe), and its certificate in OpenSSL's hands.

watch SOCKET: one JSON line for everything that is heard, or for the error that ends it.
ask SOCKET ADDRESS EXPECTED: fetches an SVID, speaks mutual TLS with it to ADDRESS, and prints what is answered.
"""

import json
import os
import socket
import ssl
import sys
import tempfile
import threading

from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import WorkloadApiClient


def say(**what):
    print(json.dumps(what), flush=True)


def watch(client):
    done = threading.Event()

    def heard(context):
        svid = context.default_svid
        bundles = context.x509_bundle_set
        own = bundles.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        say(
            ids=[str(svid.spiffe_id) for svid in context.x509_svids],
            serial=format(svid.leaf.serial_number, "x"),
            chain=len(svid.cert_chain),
            roots=len(own.x509_authorities),
        )

    def failed(error):
        say(error=str(error))
        done.set()

    client.stream_x509_contexts(heard, failed, retry_connect=False)
    done.wait()


def ask(client, address, expected):
    context = client.fetch_x509_context()
    svid = context.default_svid
    own = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    roots = b"".join(root.public_bytes(Encoding.PEM) for root in own.x509_authorities)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It goes by ids.
    tls.check_hostname = False
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    tls.load_verify_locations(cadata=roots.decode())
    with tempfile.TemporaryDirectory() as folder:
        chain, key = os.path.join(folder, "chain"), os.path.join(folder, "key")
        svid.save(chain, key, Encoding.PEM)
        tls.load_cert_chain(chain, key)
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as plain, tls.wrap_socket(plain) as stream:
        names = stream.getpeercert()["subjectAltName"]
        assert names == (("URI", expected),), names
        stream.sendall(b"GET / HTTP/1.1\r\nhost: products.shop\r\nconnection: close\r\n\r\n")
        answer = b""
        while part := stream.recv(4096):
            answer += part
    say(id=str(svid.spiffe_id), answer=answer.decode())


verb, path, *rest = sys.argv[1:]
with WorkloadApiClient(f"unix://{path}") as client:
    watch(client) if verb == "watch" else ask(client, *rest)
