package server

import (
	"net/http"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// maxHeaders is how many header lines a request may have; machines and the proxies on their way need about twenty.
const maxHeaders = 100

// acceptable refuses what no machine sends, before anything is looked up or done for it. So it answers alike whatever
// the path says.
func acceptable(r *http.Request) *protocol.Error {
	switch lines, bytes := sizeOf(r.Header); {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return &protocol.Error{Code: codeMethod, Message: "only GET is answered here"}
	case len(r.TransferEncoding) > 0:
		// Beside a Content-Length, which net/http has dropped by now, this is how requests are smuggled.
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: "requests must have no body"}
	case r.ContentLength != 0:
		return &protocol.Error{Code: protocol.CodeTooLarge, Message: "requests must have no body"}
	case lines > maxHeaders || bytes > maxHeaderBytes:
		return &protocol.Error{Code: codeHeaders, Message: "the request's headers are too large"}
	case r.Header.Get("Origin") != "":
		return &protocol.Error{Code: protocol.CodeForbidden, Message: "this is for machines, not for browsers"}
	case len(r.Header.Values(protocol.HeaderAuthorization)) > 1:
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: "only one Authorization header may be sent"}
	case isUpgrade(r):
		return acceptableUpgrade(r)
	}
	return nil
}

func sizeOf(header http.Header) (lines, bytes int) {
	for name, values := range header {
		lines += len(values)
		for _, value := range values {
			bytes += len(name) + len(value)
		}
	}
	return lines, bytes
}

// acceptableUpgrade refuses what the upgrader would answer less precisely, or not refuse at all.
func acceptableUpgrade(r *http.Request) *protocol.Error {
	switch {
	case !r.ProtoAtLeast(1, 1):
		return &protocol.Error{Code: protocol.CodeBadRequest, Message: "websockets need HTTP/1.1"}
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return &protocol.Error{Code: codeVersion, Message: "only version 13 of websockets is spoken here"}
	}
	return nil
}
