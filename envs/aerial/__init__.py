"""Aerial views: roads with cars, trees and houses from above (Meta-Sim §4.2, Meta-Sim2 §4.2)."""
