// Package eventing says which of Knative's objects bring events to a Function.
//
// Everything in it is pure: the Function goes in, objects come out. The
// controller of Functions, which gets these functions handed in where the
// control plane is assembled, applies and removes the objects.
package eventing
