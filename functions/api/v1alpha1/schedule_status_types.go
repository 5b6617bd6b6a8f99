package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ActionResult is what became of a planned time.
//
// +kubebuilder:validation:Enum=Delivered;Failed;Missed;Skipped;Cancelled
type ActionResult string

// The results of a planned time.
const (
	// ActionDelivered: the sink took the event.
	ActionDelivered ActionResult = "Delivered"
	// ActionFailed: the sink refused it, or did not take it within the window.
	ActionFailed ActionResult = "Failed"
	// ActionMissed: it was never tried, because the window was over.
	ActionMissed ActionResult = "Missed"
	// ActionSkipped: it was never tried, because of the overlap policy, a
	// suspension or a pause.
	ActionSkipped ActionResult = "Skipped"
	// ActionCancelled: it was given up for a later one, or with its request.
	ActionCancelled ActionResult = "Cancelled"
)

// ScheduleAction is a planned time and what became of it.
type ScheduleAction struct {
	// PlannedTime is when it should have happened, but for the jitter.
	PlannedTime metav1.Time `json:"plannedTime"`
	// ActualTime is when it was settled.
	ActualTime metav1.MicroTime `json:"actualTime"`
	// ID of the event.
	// +optional
	ID string `json:"id,omitempty"`
	// Request that asked for it; empty for the timetable's own.
	// +optional
	Request string `json:"request,omitempty"`
	// Result of the action.
	Result ActionResult `json:"result"`
	// Attempts is how often it was sent.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// Count is how many planned times this entry stands for, beginning at
	// PlannedTime; one when empty. Missed and skipped times are recorded
	// together; at 1000 the counting stops.
	// +optional
	Count int32 `json:"count,omitempty"`
	// Message says why, unless it was delivered.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ActiveAction is an action that was begun and is not settled. Whoever goes on
// with it after a crash sends the same event with the same id.
type ActiveAction struct {
	// PlannedTime is when it should happen, but for the jitter.
	PlannedTime metav1.Time `json:"plannedTime"`
	// Deadline is until when it is tried.
	Deadline metav1.Time `json:"deadline"`
	// ID of the event.
	ID string `json:"id"`
	// Request that asked for it; empty for the timetable's own.
	// +optional
	Request string `json:"request,omitempty"`
	// Attempts that are known to have failed.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// NextAttemptTime is when it is tried again.
	// +optional
	NextAttemptTime *metav1.MicroTime `json:"nextAttemptTime,omitempty"`
	// Cancelled says for which later planned time it was given up; it is settled
	// once the attempt under way has ended.
	// +optional
	Cancelled *metav1.Time `json:"cancelled,omitempty"`
	// Message is the error of the last attempt.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// RequestStatus is how far a request of the spec is.
type RequestStatus struct {
	// Name of the request.
	Name string `json:"name"`
	// HandledTime is the time up to which its planned times were begun.
	// +optional
	HandledTime *metav1.Time `json:"handledTime,omitempty"`
	// Actions is how many were begun or skipped.
	// +optional
	Actions int64 `json:"actions,omitempty"`
	// Failures is how many of them failed.
	// +optional
	Failures int64 `json:"failures,omitempty"`
	// Done says that all of them were settled, at CompletionTime.
	// +optional
	Done bool `json:"done,omitempty"`
	// CompletionTime is when the last one was settled.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Message says why it could not be acted on.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ScheduleStatus is what the scheduler remembers. Everything that it decides
// comes from here and from the spec, never from a timer's memory.
type ScheduleStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions hold Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastHandledTime is the time up to which every planned time was decided
	// upon: it is settled, active or waiting.
	// +optional
	LastHandledTime *metav1.Time `json:"lastHandledTime,omitempty"`

	// ClockSetBackFrom is LastHandledTime from before the clock was set back by
	// more than the catch-up window. Once the clock shows that time again, nothing
	// up to it happens a second time.
	// +optional
	ClockSetBackFrom *metav1.Time `json:"clockSetBackFrom,omitempty"`

	// NextTime is the next planned time, with its jitter; empty while nothing is
	// planned.
	// +optional
	NextTime *metav1.Time `json:"nextTime,omitempty"`

	// Active are the actions under way that could not be settled at once: up to
	// 10 of the timetable, and one of each request.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=26
	Active []ActiveAction `json:"active,omitempty"`

	// Buffered is the planned time that waits, with the overlap policy BufferOne.
	// +optional
	Buffered *metav1.Time `json:"buffered,omitempty"`

	// LastActions are the latest actions, newest first, as many as
	// spec.historyLimit says.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	LastActions []ScheduleAction `json:"lastActions,omitempty"`

	// Actions is how many planned times were begun, by which spec.maxActions
	// counts.
	// +optional
	Actions int64 `json:"actions,omitempty"`

	// FailedInARow is how many of the latest actions failed, by which
	// spec.pauseAfterFailures counts.
	// +optional
	FailedInARow int32 `json:"failedInARow,omitempty"`

	// PausedSince is when the schedule paused itself; spec.resumedFrom ends it.
	// +optional
	PausedSince *metav1.Time `json:"pausedSince,omitempty"`

	// Resting says that nothing is acted on, because of a suspension, a pause or
	// because the schedule is over.
	// +optional
	Resting bool `json:"resting,omitempty"`

	// Requests are those of the spec, and how far they are.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Requests []RequestStatus `json:"requests,omitempty"`

	// Timetable is a fingerprint of the planned times that LastHandledTime
	// belongs to. A changed timetable begins anew; it plans nothing in the past.
	// +optional
	Timetable string `json:"timetable,omitempty"`

	// SinkURI is where events are sent.
	// +optional
	SinkURI string `json:"sinkUri,omitempty"`
}
