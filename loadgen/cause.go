package loadgen

import "strings"

// causes tells the reasons apart for which a request got no answer, by what the
// error says; vegeta passes on its text only. The first that fits holds.
var causes = []struct{ text, cause string }{
	{errNoReadyPod.Error(), errNoReadyPod.Error()},
	{errHead.Error(), errHead.Error()},
	{"response header list larger", errHead.Error()},
	{"response headers exceeded", errHead.Error()},
	{"header list too large", errHead.Error()},
	{errElsewhere, errElsewhere},
	{"connection refused", "connection refused"},
	{"connection reset", "connection reset"},
	{"broken pipe", "connection reset"},
	{"too many open files", "generator out of files or ports"},
	{"cannot assign requested address", "generator out of files or ports"},
	{"no such host", "no such host"},
	{"no route to host", "unreachable"},
	{"network is unreachable", "unreachable"},
	{"certificate", "TLS"},
	{"tls: ", "TLS"},
	{"Client.Timeout", "timeout"},
	{"timeout", "timeout"},
	{"timed out", "timeout"},
	{"deadline exceeded", "timeout"},
	{errLost.Error(), "EOF"},
	{"EOF", "EOF"},
	{"closed", "EOF"},
	{"port-forward", "port-forward"},
	{"malformed", "no HTTP"},
	{"bad Content-Length", "no HTTP"},
	{"transfer encoding", "no HTTP"},
	{"PROTOCOL_ERROR", "no HTTP"},
}

// causeOf sorts the text of an error into one of a few causes.
func causeOf(text string) string {
	_, text = shownError(text) // the words of the URL are not the error's
	for _, c := range causes {
		if strings.Contains(text, c.text) {
			return c.cause
		}
	}
	return "other"
}
