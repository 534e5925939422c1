"""What can go wrong with the system that is read, and with what it gives."""

from keepstep.model.faults import Fault

_NOTHING_READ = "Nothing is read; the tables stay as they are and grow old."
_GOES_ON = "Nothing is lost: the next run goes on from the last page that was written."
_PAGE_REFUSED = "Nothing of the answer was written; the tables stay as they are, and the next run asks again."
_ENTITY_ONLY = "This entity is not read and grows old; the others go on."
_CHECK = "Check {url_setting}, and that this machine can reach {host}."
_PASSING = "It is tried again by itself; if it stays so, look at the network and at proxies on the way."

OF_UPSTREAM = (
    Fault(
        "wrong-host", "error", "The address leads to another host",
        "A web page came from {host} instead of data for {path}: this is not where {title}'s API lives.",
        _NOTHING_READ, "{use_url}",
    ),
    Fault(
        "docs-host", "error", "The address is the documentation site",
        "This is {title}'s documentation site, not its API.", _NOTHING_READ, "{use_url}",
    ),
    Fault(
        "wrong-path", "error", "The address has the wrong path",
        "{title} has no API under {url}: {detail}, asked for {path}.", _NOTHING_READ, "{advice}",
    ),
    Fault(
        "http-not-https", "error", "The address uses http",
        "{url_setting} uses http; {title} answers only https.", _NOTHING_READ,
        "Set {url_setting} to the same address with https://.",
    ),
    Fault(
        "redirected", "error", "Upstream redirects to another address",
        "{title} redirects {path} to {host}; the key is not sent there.", _NOTHING_READ, "{use_url}",
    ),
    Fault(
        "address-unusable", "error", "The address cannot be used",
        "{url_setting} is not a usable web address.", _NOTHING_READ, "Set {url_setting} to an https:// address.",
    ),
    Fault(
        "dns-failed", "error", "The host's name cannot be resolved",
        "The name of {title}'s host, {host}, cannot be resolved.", f"{_NOTHING_READ} {_GOES_ON}", _CHECK,
    ),
    Fault(
        "connection-refused", "error", "The host refuses connections",
        "{host} refused the connection.", f"{_NOTHING_READ} {_GOES_ON}", _CHECK,
    ),
    Fault(
        "no-route", "error", "The host cannot be reached",
        "No connection to {host}: {detail}.", f"{_NOTHING_READ} {_GOES_ON}", _CHECK,
    ),
    Fault(
        "connect-timeout", "error", "The host does not accept connections in time",
        "{host} did not accept a connection in time.", f"{_NOTHING_READ} {_GOES_ON}", _CHECK,
    ),
    Fault(
        "tls-failed", "error", "No secure connection",
        "No secure connection to {host}: {detail}.", _NOTHING_READ,
        "Check {url_setting}; behind a company proxy, let this machine trust its certificate.",
    ),
    Fault(
        "proxy-failed", "error", "The proxy cannot be used",
        "The proxy on the way to {host} cannot be used.", _NOTHING_READ,
        "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in the environment.",
    ),
    Fault(
        "answer-timeout", "error", "Upstream does not answer in time",
        "{title} did not send its answer in time.", f"{_NOTHING_READ} {_GOES_ON}",
        "It is tried again by itself; if it stays so, lower the page size or ask the vendor.",
    ),
    Fault(
        "connection-broken", "error", "The connection breaks",
        "The connection to {host} broke before the answer was complete.", _GOES_ON, _PASSING,
    ),
    Fault(
        "not-http", "error", "The host does not speak HTTP",
        "{host} answered something that is not HTTP.", _NOTHING_READ, _CHECK,
    ),
    Fault(
        "request-unusable", "error", "The request cannot be built",
        "The request to {host} could not be built.", _NOTHING_READ,
        "Check {url_setting} and the credentials for stray characters.",
    ),
    Fault(
        "key-missing", "error", "There is no API key",
        "No {title} API key is set.", "The integration stays idle: nothing is read.", "Set {key_setting}{see}.",
    ),
    Fault(
        "key-unusable", "error", "The API key cannot be sent",
        "The {title} API key has blanks, line breaks or foreign characters in it and was not sent.",
        _NOTHING_READ, "Copy the key again, in one piece, into {key_setting}.",
    ),
    Fault(
        "auth-failed", "error", "The API key is refused (401)",
        "{title} refused the API key (401): it is missing, mistyped, expired or revoked.", _NOTHING_READ,
        "Put a current key into {key_setting}, without quotes and the word bearer{see}.",
    ),
    Fault(
        "needs-reconnect", "error", "The consent is gone: reconnect",
        "{title} does not accept the consent any more: {detail}.",
        "This owner's data is not read and grows old; nobody else's is concerned.",
        "Connect {title} again and allow what it asks for; reading goes on from where it stopped.",
    ),
    Fault(
        "consent-refused", "error", "The consent was not completed",
        "{title} gave no consent: {detail}.", "Nothing is connected, and nothing is read.",
        "Start connecting once more, and finish it within a few minutes in the same browser.",
    ),
    Fault(
        "oauth-client", "error", "The application is refused",
        "{title} refuses this application's client: {detail}.",
        "No owner's consent can be renewed: nothing of this integration is read.",
        "Check client id, client secret and redirect address in {title}'s console, and that they are the same here.",
    ),
    Fault(
        "api-disabled", "error", "The API is not switched on",
        "{title} is not switched on for this application's project (403).", _NOTHING_READ,
        "Switch {title}'s API on in the project's console, and wait a few minutes.",
    ),
    Fault(
        "changes-lost", "info", "Everything is read, because changes cannot be",
        "{title} cannot say what changed in {path}: {detail}.",
        "Nothing is missing: everything is read instead, which takes longer this once.", "Nothing to do.",
    ),
    Fault(
        "access-denied", "error", "The key may not read an entity (403)",
        "{title} does not allow this key to read {path} (403).", _ENTITY_ONLY,
        "Give the key's user access to it, or leave it out of {entities_setting}{see}.",
    ),
    Fault(
        "firewall", "error", "Something on the way answers 403",
        "A web page answered 403 in {title}'s place, most likely a firewall or proxy on the way.", _NOTHING_READ,
        "Let this machine reach {host} directly, or allow it in the firewall.",
    ),
    Fault(
        "role-refused", "error", "The key's role may not read an entity (405)",
        "The role of the API key may not read {path} (405 METHOD_NOT_ALLOWED).", _ENTITY_ONLY,
        "Give the key a role with access to it, or leave it out of {entities_setting}{see}.",
    ),
    Fault(
        "endpoint-unknown", "error", "Upstream knows no such endpoint (404)",
        "{title} knows no {path} under {url} (404).", _ENTITY_ONLY, "{advice} {see}",
    ),
    Fault(
        "request-rejected", "error", "Upstream rejects the request",
        "{title} rejected the request for {path} as invalid ({status}){detail}.", _ENTITY_ONLY, "{advice}",
    ),
    Fault(
        "request-refused", "error", "Upstream refuses the request",
        "{title} refused the request for {path} ({status}){detail}.", _ENTITY_ONLY, "{advice} {see}",
    ),
    Fault(
        "rate-limited", "warning", "Upstream asks for a pause",
        "{title} {detail}.", "The run waits and goes on by itself; nothing is lost.",
        "Nothing to do: reading goes on by itself after the pause. Larger pages ({size_setting}, up to 1000) need "
        "fewer requests{see}.",
    ),
    Fault(
        "rate-limited-minute", "warning", "The requests of this minute are used up (429)",
        "{title} {detail}.", "The run pauses for about a minute and goes on by itself.",
        "Nothing to do: reading goes on by itself after the pause. Larger pages ({size_setting}, up to 1000) need "
        "fewer requests{see}.",
    ),
    Fault(
        "rate-limited-hour", "warning", "The requests of this hour are used up (429)",
        "{title} {detail}.",
        "The run waits, up to an hour, and goes on by itself; until then the tables grow old.",
        "Nothing to do: reading goes on by itself after the pause. Larger pages ({size_setting}, up to 1000) and a "
        "longer interval need fewer requests; other programs with the same key use them up too{see}.",
    ),
    Fault(
        "upstream-failed", "error", "Upstream fails on its side (5xx)",
        "{title} failed on its side ({status}) while reading {path}.", f"{_NOTHING_READ} {_GOES_ON}",
        "It is tried again by itself; if it stays so, ask {title}'s support.",
    ),
    Fault(
        "mailbox-refused", "error", "The mail server does not let us in",
        "The mail server {host} refused the user name with its password or token.", _NOTHING_READ,
        "Give the connection a current password, or connect the account again; many providers want an app password.",
    ),
    Fault(
        "mail-in-clear", "error", "The mail connection is not encrypted",
        "The password is not sent to {host} without encryption.", _NOTHING_READ,
        "Choose tls (port 993) or starttls (port 143) for the connection.",
    ),
    Fault(
        "mail-host-private", "error", "The mail server is in a private network",
        "{host} is in Keepstep's own network, and a user's mailbox may not be there.", _NOTHING_READ,
        "Give a mail server on the internet, or let an administrator set KEEPSTEP_MAIL_PRIVATE_HOSTS=true.",
    ),
    Fault(
        "mailbox-busy", "warning", "The mail server asks for a pause",
        "The mail server {host} is asked too much: {detail}.", "The run waits and goes on by itself; nothing is lost.",
        "Nothing to do. If it stays so, close other mail programs of this account or take a longer interval.",
    ),
    Fault(
        "folder-refused", "error", "A mail folder cannot be read",
        "The mail server {host} refused to give {path}: {detail}.",
        "What was read before stays; this mailbox grows old until it can be read again.",
        "Check that the folder is there and may be read, or choose other folders.",
    ),
    Fault(
        "not-imap", "error", "The server does not speak IMAP",
        "{host} answered something that is not IMAP.", _NOTHING_READ,
        "Check host, port and encryption of the connection: usually port 993 with TLS.",
    ),
    Fault(
        "breaker-open", "warning", "The circuit breaker is open",
        "{title} failed too often in a row: nothing is sent to it for another {count}.",
        "Nothing is asked of upstream for a while; runs wait, and the tables grow old.",
        "It is tried again by itself. The last errors say what is wrong; when upstream is well again, the breaker can "
        "be closed by hand.",
    ),
    Fault(
        "html-instead-of-data", "error", "A web page comes instead of data",
        "A web page came instead of data for {path} (status {status}).", _PAGE_REFUSED,
        "{advice} {title} also answers so where it has no endpoint {path}{see}.",
    ),
    Fault(
        "answer-cut-off", "error", "The answer is cut off",
        "{title}'s answer was cut off before its end.", _PAGE_REFUSED, _PASSING,
    ),
    Fault(
        "json-cut-off", "error", "The JSON is cut off",
        "{title}'s answer for {path} is not whole JSON: it breaks off within its {count} bytes.", _PAGE_REFUSED,
        "Run it again; if it stays so, lower {size_setting}, and look for a proxy that alters answers.",
    ),
    Fault(
        "bad-json", "error", "The answer is not JSON",
        "{title}'s answer for {path} is not whole JSON: {detail}.", _PAGE_REFUSED,
        "Run it again; if it stays so, look for a proxy that alters answers, then ask {title}'s support.",
    ),
    Fault(
        "wrong-envelope", "error", "The JSON is not a page of records",
        "{title}'s answer for {path} is JSON but not a page of records: {detail}.", _PAGE_REFUSED,
        "Check that {url_setting} leads to {title}'s API{see}, then ask {title}'s support.",
    ),
    Fault(
        "empty-answer", "error", "The answer is empty",
        "{title} answered {status} with an empty body for {path}.", _PAGE_REFUSED,
        "Run it again; if it stays so, ask {title}'s support.",
    ),
    Fault(
        "answer-too-large", "error", "The answer is too large",
        "{title} sent more than {count} MiB for one page of {path}.", _PAGE_REFUSED, "{advice}",
    ),
    Fault(
        "page-repeats", "error", "The same page comes again",
        "Page {count} of {path} repeats page {detail}: the page number is not heard, so the records after it can't be "
        "read.",
        "What came before stays; records further back are not read, and nothing is deleted.",
        "Look for a proxy that drops or caches query parameters, and check {url_setting}.",
    ),
    Fault(
        "page-empty", "error", "The first page is empty although there are records",
        "{title} says that {path} has {count} records but page 1 holds none.", _PAGE_REFUSED,
        "Check that the key's role may read this entity; then ask {title}'s support.",
    ),
    Fault(
        "upstream-slow", "warning", "Upstream answers slowly",
        "{title} answers slowly ({count} s).", "Runs take longer than usual; nothing is missing.",
        "Nothing to do; if it stays so, lower {size_setting} or ask {title}'s support.",
    ),
    Fault(
        "transient", "error", "Upstream failed for the moment",
        "{title} did not give what was asked.", _GOES_ON, _PASSING,
    ),
    Fault(
        "not-data", "error", "The answer is not data",
        "{title} answered something that is not data.", _PAGE_REFUSED, "Check {url_setting}.",
    ),
    Fault(
        "permanent", "error", "Upstream refuses",
        "{title} refused the request.", _NOTHING_READ, "Check the settings of the integration: keepstep doctor",
    ),
)  # fmt: skip

OF_DATA = (
    Fault(
        "listing-shifts", "warning", "The listing moves while it is read",
        "{path}: {detail}.",
        "Everything read is in; nothing is deleted on this reading, so rows that are gone upstream may still be there.",
        "Nothing to do: the next full run reads everything anew. If it stays so, let it begin at a quiet hour.",
    ),
    Fault(
        "source-emptied", "error", "Everything is gone upstream",
        "{path}: upstream gives no record of {count} that are here; their deletion waits for a decision.",
        "All rows stay as they are until somebody decides.",
        "See whether the account or the key's role has changed; then: keepstep held list, and approve or discard.",
    ),
    Fault(
        "deletions-held", "warning", "Many deletions wait for a decision",
        "{path}: the deletion of {count} rows waits for a decision.",
        "Everything else is in; these rows stay until somebody decides.",
        "See them with: keepstep held list; then approve or discard.",
    ),
    Fault(
        "poison-records", "warning", "Some records could not be applied",
        "{count} records could not be applied.",
        "These records are missing or old in the tables; all others are in. Each is kept with its reason.",
        "See them with: keepstep dlq list. Once a record arrives in good order, its dead letter is resolved by itself.",
    ),
    Fault(
        "schema-drift", "info", "Upstream gives fields that have no column",
        "{path}: upstream gives fields that have no column: {detail}.",
        "Nothing is lost: they are kept in _extra under their own names.",
        "See them with: keepstep schema diff {integration} {path}. For columns of their own: "
        "keepstep schema policy {integration} {path} evolve",
    ),
    Fault(
        "schema-stop", "error", "An unknown field stops the entity",
        "{path}: upstream gives a field that is not known, {detail}, and the policy is to stop.",
        "This entity is not read until somebody decides; what was written before stays.",
        "Take the field in with: keepstep schema policy {integration} {path} evolve (a column of its own) or keep "
        "(in _extra).",
    ),
    Fault(
        "no-success", "error", "There was no success for a long time",
        "{path} has had no success since {detail}.", "The tables are as old as that.",
        "See what the last runs say: keepstep runs. When none was started: keepstep doctor",
    ),
    Fault(
        "run-crashed", "error", "A run killed its workers",
        "{detail}", "What was written before stays; nothing is counted twice.",
        "Look for what ended them (memory, kill -9) in the logs of the workers; the next run goes on from here.",
    ),
)  # fmt: skip
