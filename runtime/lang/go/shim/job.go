//go:build go1.24

package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// jobIndexHeader tells an HTTP function which index of an indexed Job it is.
const jobIndexHeader = "Knit-Job-Index"

// eventType is the type of the event of a job that was given only data.
const eventType = "dev.knit.job"

// maxResultBytes is what the kubelet takes of a termination message, which is
// how a job's result reaches the cluster.
const maxResultBytes = 4096

// job is what a process in job mode is asked to do, from its environment.
type job struct {
	event  string // one CloudEvent, structured
	data   string // JSON; the event's data when there is no event
	index  string // of an indexed Job; may be empty
	result string // file for the result; empty when nobody wants it
}

// serveJob calls the function once and returns the exit code.
func (s *server) serveJob(ctx context.Context) int {
	if err := s.start(ctx); err != nil {
		s.log.Error("function not started", "error", err.Error())
		return exitFailed
	}
	begun := time.Now()
	answer, err := s.callOnce(ctx)
	if stop := s.stop(context.WithoutCancel(ctx)); stop != nil && err == nil {
		err = stop
	}
	took := time.Since(begun).Round(time.Millisecond).String()
	if err != nil {
		s.log.Error("job failed", "index", s.settings.Job.index, "duration", took, "error", err.Error())
		return answer.exitCode()
	}
	s.keepResult(answer.body.Bytes())
	s.log.Info("job succeeded", "index", s.settings.Job.index, "duration", took)
	return exitOK
}

// callOnce gives the function the job as one request. A function that was told
// to end, by its deadline or by a signal, has as long as a drain takes for it;
// the answer of one that goes on is never looked at.
func (s *server) callOnce(ctx context.Context) (*jobAnswer, error) {
	if s.settings.TimeoutSet {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.settings.Timeout)
		defer cancel()
	}
	none := &jobAnswer{}
	r, err := s.settings.Job.request(ctx, s.events)
	if err != nil {
		return none, err
	}
	answer, ended := &jobAnswer{header: http.Header{}}, make(chan error, 1)
	go func() { ended <- s.callFunction(answer, r) }()
	select {
	case err := <-ended:
		return answer, err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return answer, err
	case <-time.After(s.settings.DrainDelay):
		return none, fmt.Errorf("the function did not end within %s after it was told to: %w", s.settings.DrainDelay, context.Cause(ctx))
	}
}

func (s *server) callFunction(answer *jobAnswer, r *http.Request) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			s.logPanic(r, cause)
			err = errors.New("the function panicked; its log has the stack")
		}
	}()
	s.handler.ServeHTTP(answer, r)
	return answer.failure()
}

// request is a POST of the job's event, or of its data alone when the function
// takes no events.
func (j job) request(ctx context.Context, events bool) (*http.Request, error) {
	contentType, body := "application/json", j.data
	if j.event != "" || events {
		contentType = "application/cloudevents+json"
		event, err := j.structured()
		if err != nil {
			return nil, err
		}
		body = event
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewBufferString(body))
	if err != nil {
		return nil, fmt.Errorf("make the job's request: %w", err)
	}
	r.RequestURI = "/"
	if body != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if j.index != "" {
		r.Header.Set(jobIndexHeader, j.index)
	}
	return r, nil
}

// structured is the job's event with its index, or an event around its data.
func (j job) structured() (string, error) {
	event := map[string]json.RawMessage{}
	if j.event != "" {
		if err := json.Unmarshal([]byte(j.event), &event); err != nil {
			return "", fmt.Errorf("KNIT_JOB_EVENT is no JSON object: %w", err)
		}
	} else {
		id := fmt.Sprintf("%s-%s", hostname(), j.index)
		for name, value := range map[string]string{"specversion": "1.0", "type": eventType, "source": "/knit/job", "id": id} {
			event[name], _ = json.Marshal(value)
		}
		if j.data != "" {
			event["datacontenttype"], event["data"] = json.RawMessage(`"application/json"`), json.RawMessage(j.data)
		}
	}
	if j.index != "" {
		event["jobindex"], _ = json.Marshal(j.index)
	}
	text, err := json.Marshal(event)
	if err != nil {
		return "", fmt.Errorf("KNIT_JOB_DATA is no JSON: %w", err)
	}
	return string(text), nil
}

// hostname is the pod's name, which no two executions share.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "job"
	}
	return name
}

// keepResult writes what the function answered where the platform reads it. A
// job whose work is done does not fail for a result that cannot be kept.
func (s *server) keepResult(result []byte) {
	file := s.settings.Job.result
	if file == "" || len(result) == 0 {
		return
	}
	if len(result) > maxResultBytes {
		s.log.Error("result not kept", "error", fmt.Sprintf("it has %d bytes, more than %d; store it elsewhere and return where", len(result), maxResultBytes))
		return
	}
	if err := os.WriteFile(file, result, 0o644); err != nil {
		s.log.Error("result not kept", "error", err.Error())
	}
}

// jobAnswer takes the answer of the one call. What it keeps is bounded: one
// byte more than a result may have shows that it was too large.
type jobAnswer struct {
	header http.Header
	status int // 0 until the function says one
	body   bytes.Buffer
}

func (a *jobAnswer) Header() http.Header { return a.header }

func (a *jobAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

func (a *jobAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body.Write(b[:min(len(b), max(0, maxResultBytes+1-a.body.Len()))])
	return len(b), nil
}

// Flush is what functions that stream assert for.
func (a *jobAnswer) Flush() { a.WriteHeader(http.StatusOK) }

func (a *jobAnswer) failure() error {
	if a.status < http.StatusMultipleChoices {
		return nil
	}
	return fmt.Errorf("the function answered %d: %s", a.status, bytes.TrimSpace(a.body.Bytes()))
}

// exitCode tells a failure that another try may mend from one that it cannot,
// by the rule that Knative has for deliveries.
func (a *jobAnswer) exitCode() int {
	switch a.status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return exitFailed
	}
	if a.status >= http.StatusBadRequest && a.status < http.StatusInternalServerError {
		return exitRefused
	}
	return exitFailed
}
