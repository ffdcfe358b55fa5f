"""A small synthetic climate in the layout of ACE2's data, for training the checkpoints of the tests.

Weather is a handful of latent fields on the sphere. Each is red in space and in time, drifts
eastward, and depends on nothing but its own past, so that a small network can learn it. Every
variable of the atmosphere is a climatology plus a fixed mixture of them, and every flux a function of
the variables at the same time. Names, units, hybrid coordinate and file layout are those of ACE2-ERA5
with four layers instead of eight.
"""

from __future__ import annotations

import cftime
import numpy as np
import torch
import torch_harmonics
import xarray as xr

NUM_LAT, NUM_LON = 16, 32
NUM_LAYERS = 4
NUM_LATENT = 6
STEP_HOURS = 6
CALENDAR = "noleap"
START = cftime.datetime(2000, 10, 1, calendar=CALENDAR)
NUM_TIMES = 728

LATENT_HEAT = 2.501e6  # J/kg
GRAVITY = 9.80665  # m/s²
SOLAR_CONSTANT = 1361.0  # W/m²

#: Hybrid sigma-pressure interfaces, top to surface: pressure = ak + bk * surface pressure (Pa).
AK = np.array([100.0, 20000.0, 15000.0, 5000.0, 0.0])
BK = np.array([0.0, 0.05, 0.35, 0.75, 1.0])

LAYER_TEMPERATURE = np.array([225.0, 250.0, 270.0, 284.0])  # K, at the equator
LAYER_TEMPERATURE_FALL = np.array([-5.0, 25.0, 32.0, 36.0])  # K, equator to pole
LAYER_WATER = np.array([4e-6, 6e-4, 4e-3, 1.1e-2])  # kg/kg, at the equator

LAYERED = {
    "air_temperature": ("K", "Temperature level-{}"),
    "specific_total_water": ("kg/kg", "Specific total water level-{}"),
    "eastward_wind": ("m/s", "U component of wind level-{}"),
    "northward_wind": ("m/s", "V component of wind level-{}"),
}
SINGLE = {
    "PRESsfc": ("Pa", "Surface pressure"),
    "surface_temperature": ("K", "Surface temperature of land or sea ice"),
    "TMP2m": ("K", "2m air temperature"),
    "LHTFLsfc": ("W/m**2", "Latent heat flux"),
    "SHTFLsfc": ("W/m**2", "Sensible heat flux"),
    "PRATEsfc": ("kg/m**2/s", "Surface precipitation rate"),
    "ULWRFtoa": ("W/m**2", "Upward LW radiative flux at TOA"),
    "USWRFtoa": ("W/m**2", "Upward SW radiative flux at TOA"),
    "tendency_of_total_water_path_due_to_advection": (
        "kg/m**2/s",
        "Tendency of total water path due to advection",
    ),
    "DSWRFtoa": ("W/m**2", "Downward SW radiative flux at TOA"),
    "HGTsfc": ("m", "Topography height"),
    "land_fraction": ("1", "Fraction of grid cell covered by land"),
    "ocean_fraction": ("1", "Fraction of grid cell covered by ice-free ocean"),
    "sea_ice_fraction": ("1", "Fraction of grid cell covered by sea ice"),
    "global_mean_co2": ("ppm", "global mean CO2 concentration"),
}

LAYERS = [f"{name}_{k}" for name in LAYERED for k in range(NUM_LAYERS)]
PROGNOSTIC = ["PRESsfc", "surface_temperature", "TMP2m", *LAYERS]
DIAGNOSTIC = [
    "LHTFLsfc",
    "SHTFLsfc",
    "PRATEsfc",
    "ULWRFtoa",
    "USWRFtoa",
    "tendency_of_total_water_path_due_to_advection",
]
FORCING = [
    "DSWRFtoa",
    "HGTsfc",
    "land_fraction",
    "ocean_fraction",
    "sea_ice_fraction",
    "global_mean_co2",
]


def gauss_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latitudes south to north, longitudes (degrees), area weights [lat] that sum to 1."""
    sine, weight = np.polynomial.legendre.leggauss(NUM_LAT)
    return np.rad2deg(np.arcsin(sine)), np.arange(NUM_LON) * 360.0 / NUM_LON, weight / 2


def latent_weather(rng: np.random.Generator, num_times: int) -> np.ndarray:
    """[latent, time, lat, lon], mean 0 and variance about 1.

    Per degree l and order m a first-order autoregression: c' = φ_l exp(-imω) c + noise.
    """
    num_l, num_m = NUM_LAT, NUM_LAT
    degree = np.arange(num_l)[:, None]
    order = np.arange(num_m)[None, :]
    amplitude = np.where((order <= degree) & (degree > 0), (1 + degree / 3.0) ** -2.0, 0.0)
    amplitude /= np.sqrt((amplitude**2 * np.where(order > 0, 2, 1)).sum() / (4 * np.pi))
    memory = np.exp(-STEP_HOURS / (120.0 / (1 + degree / 4.0)))
    drift = memory * np.exp(-1j * order * 2 * np.pi * STEP_HOURS / (24 * 20.0))
    kick = amplitude * np.sqrt(1 - memory**2)

    def noise() -> np.ndarray:
        shape = (NUM_LATENT, num_l, num_m)
        real, imaginary = rng.standard_normal(shape), rng.standard_normal(shape)
        return np.where(order > 0, (real + 1j * imaginary) / np.sqrt(2), real)

    state = amplitude * noise()
    coefficients = np.empty((num_times, NUM_LATENT, num_l, num_m), dtype=np.complex128)
    for step in range(num_times):
        coefficients[step] = state
        state = drift * state + kick * noise()
    inverse = torch_harmonics.InverseRealSHT(
        NUM_LAT, NUM_LON, lmax=num_l, mmax=num_m, grid="legendre-gauss"
    )
    fields = inverse(torch.as_tensor(coefficients).to(torch.complex64)).numpy()
    return np.moveaxis(fields[..., ::-1, :], 1, 0).astype(np.float64)


def insolation(day: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Downward solar flux at the top [time, lat, lon], W/m², on a circular orbit."""
    declination = np.deg2rad(-23.44) * np.cos(2 * np.pi * (day + 10) / 365)
    hour_angle = 2 * np.pi * (day % 1)[:, None] + np.deg2rad(lon)[None] - np.pi
    phi = np.deg2rad(lat)
    cosine = (np.sin(phi) * np.sin(declination)[:, None])[:, :, None] + (
        np.cos(phi) * np.cos(declination)[:, None]
    )[:, :, None] * np.cos(hour_angle)[:, None, :]
    return SOLAR_CONSTANT * np.maximum(cosine, 0.0)


def global_mean(field: np.ndarray) -> np.ndarray:
    """[..., lat, lon] -> [..., 1, 1]."""
    return (field.mean(axis=-1, keepdims=True) * gauss_grid()[2][:, None]).sum(-2, keepdims=True)


def total_water_path(fields: dict[str, np.ndarray]) -> np.ndarray:
    """Water in the column [time, lat, lon], kg/m²."""
    interfaces = AK[:, None, None, None] + BK[:, None, None, None] * fields["PRESsfc"]
    thickness = np.diff(interfaces, axis=0)
    water = np.stack([fields[f"specific_total_water_{k}"] for k in range(NUM_LAYERS)])
    return (water * thickness).sum(axis=0) / GRAVITY


def atmosphere(rng: np.random.Generator, weather: np.ndarray, height: np.ndarray) -> dict:
    """Layered variables and surface pressure, each [time, lat, lon], from the latent fields."""
    lat, _, _ = gauss_grid()
    pole = (np.sin(np.deg2rad(lat)) ** 2)[:, None]
    mixture = rng.standard_normal((len(LAYERED) + 1, NUM_LAYERS, NUM_LATENT))
    mixture[:, 1:] = 0.4 * mixture[:, 1:] + 0.6 * mixture[:, :1]
    mixture /= np.sqrt((mixture**2).sum(axis=-1, keepdims=True))
    anomaly = np.einsum("vkf,ftyx->vktyx", mixture, weather)
    fields = {"PRESsfc": 101000.0 * np.exp(-height / 8000.0) * (1 + 0.006 * anomaly[4, 0])}
    for k in range(NUM_LAYERS):
        temperature = LAYER_TEMPERATURE[k] - LAYER_TEMPERATURE_FALL[k] * pole
        fields[f"air_temperature_{k}"] = temperature + (2.0 + k) * anomaly[0, k]
        water = LAYER_WATER[k] * np.exp(-2.0 * pole)
        fields[f"specific_total_water_{k}"] = water * np.exp(0.25 * anomaly[1, k])
        jet = 30.0 * np.sin(2 * np.deg2rad(lat))[:, None] ** 2 * (1 - k / NUM_LAYERS) - 3.0
        fields[f"eastward_wind_{k}"] = jet + 6.0 * anomaly[2, k]
        fields[f"northward_wind_{k}"] = 4.0 * anomaly[3, k]
    return fields


def land_and_height(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Land fraction with fractional coasts and topography (m), both [lat, lon]."""
    shape, relief = latent_weather(rng, 1)[:2, 0]
    land = 1 / (1 + np.exp(-4.0 * (shape - 0.5)))
    land = np.where(land < 0.05, 0.0, np.where(land > 0.95, 1.0, land))
    return land, 800.0 * land * np.exp(0.5 * relief)


def surface(weather: np.ndarray, land: np.ndarray, day: np.ndarray, sun: np.ndarray) -> dict:
    """Surface and 2 m temperature, sea ice and ocean fraction [time, lat, lon]."""
    lat, _, _ = gauss_grid()
    sine = np.sin(np.deg2rad(lat))[None, :, None]
    season = np.cos(2 * np.pi * (day - 35) / 365)[:, None, None]
    sea = 300.5 - 34.0 * sine**2 - 3.0 * season * sine + 0.5 * weather[0]
    ground = sea + 2.0 - 9.0 * season * sine + 3.0 * weather[1] + 0.006 * (sun - 340.0)
    frozen = np.clip((272.0 - sea) / 3.0, 0.0, 1.0)
    skin = np.where(land > 0.5, ground, sea - 4.0 * frozen)
    return {
        "surface_temperature": skin,
        "TMP2m": skin - 1.0 + 0.5 * weather[2],
        "land_fraction": np.broadcast_to(land, skin.shape),
        "sea_ice_fraction": (1 - land) * frozen,
        "ocean_fraction": (1 - land) * (1 - frozen),
    }


def fluxes(fields: dict[str, np.ndarray], weather: np.ndarray) -> dict[str, np.ndarray]:
    """Fluxes as functions of the state; the water budget closes in every column but for its mean."""
    low = fields[f"specific_total_water_{NUM_LAYERS - 1}"]
    evaporation = 4e-3 * (2e-3 + low)
    rain = np.exp(0.6 * weather[3] + 0.3 * weather[4]) * low
    rain *= global_mean(evaporation) / global_mean(rain)
    advection = np.gradient(total_water_path(fields), STEP_HOURS * 3600.0, axis=0)
    advection = advection - evaporation + rain
    advection -= global_mean(advection)
    cloud = 0.3 + 0.1 * np.tanh(weather[3])
    return {
        "LHTFLsfc": LATENT_HEAT * evaporation,
        "SHTFLsfc": 15.0 + 4.0 * (fields["surface_temperature"] - fields["TMP2m"]),
        "PRATEsfc": rain,
        "ULWRFtoa": 240.0 + 2.0 * (fields["surface_temperature"] - 288.0) - 60.0 * (cloud - 0.3),
        "USWRFtoa": cloud * fields["DSWRFtoa"],
        "tendency_of_total_water_path_due_to_advection": advection,
    }


def make_climate(seed: int = 0) -> xr.Dataset:
    """Everything (time, lat, lon), float32, but HGTsfc (lat, lon) and global_mean_co2 (time)."""
    rng = np.random.default_rng(seed)
    lat, lon, _ = gauss_grid()
    land, height = land_and_height(rng)
    weather = latent_weather(rng, NUM_TIMES)
    day = START.dayofyr - 1 + np.arange(NUM_TIMES) * STEP_HOURS / 24.0
    fields = atmosphere(rng, weather, height) | {"DSWRFtoa": insolation(day, lat, lon)}
    fields |= surface(weather, land, day, fields["DSWRFtoa"])
    fields |= fluxes(fields, weather)
    fields |= {"HGTsfc": height, "global_mean_co2": 370.0 + 2.0 * day / 365}
    dims = {1: ("time",), 2: ("lat", "lon"), 3: ("time", "lat", "lon")}
    climate = xr.Dataset(
        {
            name: (dims[fields[name].ndim], fields[name].astype(np.float32), attributes)
            for name, attributes in metadata().items()
        },
        coords={
            "time": times(),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )
    for k, (a, b) in enumerate(zip(AK, BK, strict=True)):
        climate[f"ak_{k}"] = ((), np.float32(a), {"units": "Pa"})
        climate[f"bk_{k}"] = ((), np.float32(b), {"units": "1"})
    return climate


def metadata() -> dict[str, dict[str, str]]:
    """Variable name -> units and long name."""
    texts = dict(SINGLE)
    for name, (units, text) in LAYERED.items():
        texts |= {f"{name}_{k}": (units, text.format(k)) for k in range(NUM_LAYERS)}
    return {name: {"units": units, "long_name": text} for name, (units, text) in texts.items()}


def times() -> np.ndarray:
    """[time] cftime dates."""
    hours = np.arange(NUM_TIMES) * STEP_HOURS
    return cftime.num2date(hours, f"hours since {START}", calendar=CALENDAR)
