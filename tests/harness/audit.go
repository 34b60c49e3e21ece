package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// OperatorUser is the operator's name to the API server.
const OperatorUser = "system:serviceaccount:" + Namespace + ":rancheros-operator"

// Request is one request to the API server, from its audit log.
type Request struct {
	Verb string `json:"verb"`
	User struct {
		Username string              `json:"username"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
	ObjectRef struct {
		Resource, Subresource, Namespace, Name, APIGroup string
	} `json:"objectRef"`
	ResponseStatus struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"responseStatus"`
	Stage                    string    `json:"stage"`
	RequestReceivedTimestamp time.Time `json:"requestReceivedTimestamp"`
}

// Writes tells whether the request was one that changes something.
func (r Request) Writes() bool {
	switch r.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

func (r Request) String() string {
	resource := r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		resource += "/" + r.ObjectRef.Subresource
	}
	return fmt.Sprintf("%s %s %s/%s -> %d", r.Verb, resource, r.ObjectRef.Namespace, r.ObjectRef.Name, r.ResponseStatus.Code)
}

// OperatorRequests are the operator's completed requests since the given time.
func (w *World) OperatorRequests(since time.Time) ([]Request, error) {
	file, err := os.Open(filepath.Join(w.Dir, "controlplane", "audit.log"))
	if err != nil {
		return nil, fmt.Errorf("reading audit log: %w", err)
	}
	defer file.Close()
	var requests []Request
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var request Request
		if err := json.Unmarshal(scanner.Bytes(), &request); err != nil {
			return nil, fmt.Errorf("reading audit log: %w", err)
		}
		if request.Stage == "ResponseComplete" && request.User.Username == OperatorUser && request.RequestReceivedTimestamp.After(since) {
			requests = append(requests, request)
		}
	}
	return requests, scanner.Err()
}
